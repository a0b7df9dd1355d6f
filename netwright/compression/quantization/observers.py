"""Observers: which range of real values the integers are to cover.

"minmax": all that was seen. "percentile": all but a small share at both ends. "mse": the range with the least squared
error, estimated from a histogram (Nagel et al. 2021, arXiv:2106.08295, section 3.1); for weights, searched value by
value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from netwright.compression.quantization.pt2e import (
    MinMaxObserver,
    PerChannelMinMaxObserver,
    UniformQuantizationObserverBase,
)
from netwright.core.errors import NetwrightError

ObserverName = Literal["minmax", "percentile", "mse"]
BINS = 8192
OUTSIDE = 1e-5  # share of the values that "percentile" leaves out at each end
_SHRINK = 64  # ranges tried a side by "mse"


class HistogramRange(UniformQuantizationObserverBase):
    """Counts values in bins of equal width over [-bound, bound); the bound doubles where needed, so counts are exact.

    `choose(counts, bound, low, high)` returns the range to cover, of which zero is always a part.
    """

    counts: Tensor
    bound: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, choose: Callable[[HistogramRange], tuple[float, float]], **settings: Any):
        super().__init__(**settings)
        self._choose = choose
        for name in ("counts", "bound", "low", "high"):
            self.register_buffer(name, torch.zeros(BINS if name == "counts" else (), dtype=torch.float64))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Count the values of `x`, of any shape, and return it."""
        values = x.detach()
        low, high = (float(side) for side in values.aminmax())
        largest = max(-low, high)
        if not math.isfinite(largest):
            raise NetwrightError(
                "A layer's values are NaN or infinity on the images given. Look for them in the weights."
            )
        self.low.fill_(min(low, float(self.low)))
        self.high.fill_(max(high, float(self.high)))
        if self.bound == 0:
            self.bound.fill_(max(largest * 1.25, 1e-6))
        while float(self.bound) <= largest:
            self._double()
        bound = float(self.bound)
        found = torch.histc(values.float(), BINS, -bound, bound)
        self.counts += found.to(self.counts)
        return x

    def _double(self) -> None:
        quarter = BINS // 4
        merged = self.counts.reshape(-1, 2).sum(1)
        self.counts.zero_()
        self.counts[quarter : 3 * quarter] = merged
        self.bound.mul_(2)

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Return scale and zero point."""
        low, high = self._choose(self)
        device = self.counts.device
        return self._calculate_qparams(torch.tensor(low, device=device), torch.tensor(high, device=device))

    @property
    def centres(self) -> Tensor:
        """The middle of every bin."""
        width = 2 * float(self.bound) / BINS
        return (torch.arange(BINS, dtype=torch.float64, device=self.counts.device) + 0.5) * width - float(self.bound)


def percentile_range(seen: HistogramRange) -> tuple[float, float]:
    """Leave out the share OUTSIDE at each end."""
    width = 2 * float(seen.bound) / BINS
    cumulated = seen.counts.cumsum(0)
    total = float(cumulated[-1])
    first = int((cumulated > OUTSIDE * total).nonzero()[0]) if total else 0
    last = int((cumulated >= (1 - OUTSIDE) * total).nonzero()[0]) if total else 0
    low = first * width - float(seen.bound)
    high = (last + 1) * width - float(seen.bound)
    return max(low, float(seen.low)), min(high, float(seen.high))


def mse_range(seen: HistogramRange) -> tuple[float, float]:
    """Return the range with the least squared error among fractions of what was seen.

    What lies outside errs by its distance from the end; what lies inside by a twelfth of the squared step, but values
    below half a step, which become zero, by themselves.
    """
    x, counts = seen.centres, seen.counts
    share = torch.linspace(1, 1 / _SHRINK, _SHRINK, dtype=torch.float64, device=x.device)
    lows, highs = share * min(float(seen.low), 0.0), share * max(float(seen.high), 0.0)
    below = (counts * (lows[:, None] - x).clamp(min=0) ** 2).sum(1)
    above = (counts * (x - highs[:, None]).clamp(min=0) ** 2).sum(1)
    step = (highs[None] - lows[:, None]) / (seen.quant_max - seen.quant_min)
    sizes = counts[BINS // 2 :] + counts[: BINS // 2].flip(0)  # by distance from zero
    squares = (sizes * x[BINS // 2 :] ** 2).cumsum(0)
    half = (step / 2 / (2 * float(seen.bound) / BINS)).long().clamp(max=BINS // 2 - 1)
    coarse = (counts.sum() - sizes.cumsum(0)[half]) * step**2 / 12
    error = below[:, None] + above[None] + coarse + squares[half]
    place = int(error.argmin())
    return float(lows[place // _SHRINK]), float(highs[place % _SHRINK])


class PerChannelMse(PerChannelMinMaxObserver):
    """Symmetric ranges of weights, one a channel, with the least squared error among fractions of the largest value."""

    @torch.no_grad()
    def forward(self, x_orig: Tensor) -> Tensor:
        super().forward(x_orig)
        rows = x_orig.detach().transpose(0, self.ch_axis).flatten(1).double()
        largest = rows.abs().amax(1, keepdim=True).clamp(min=1e-30)
        best, error = largest.clone(), torch.full_like(largest, torch.inf)
        for share in torch.linspace(1, 0.5, _SHRINK // 2 + 1).tolist():
            scale = largest * share / self.quant_max
            tried = (rows / scale).round().clamp(self.quant_min, self.quant_max) * scale
            now = (tried - rows).square().sum(1, keepdim=True)
            best, error = torch.where(now < error, largest * share, best), torch.minimum(now, error)
        self.max_val.copy_(best[:, 0])
        self.min_val.copy_(-best[:, 0])
        return x_orig


class PerChannelNow(PerChannelMinMaxObserver):
    """Symmetric ranges of weights as they are at this moment: what they were in earlier steps is forgotten."""

    @torch.no_grad()
    def forward(self, x_orig: Tensor) -> Tensor:
        low, high = x_orig.detach().transpose(0, self.ch_axis).flatten(1).aminmax(dim=1)
        self.min_val.resize_(low.shape).copy_(low)
        self.max_val.resize_(high.shape).copy_(high)
        return x_orig


ACTIVATIONS: dict[str, Any] = {
    "minmax": MinMaxObserver,
    "percentile": HistogramRange.with_args(choose=percentile_range),
    "mse": HistogramRange.with_args(choose=mse_range),
}
WEIGHTS: dict[str, Any] = {
    "minmax": PerChannelMinMaxObserver,
    "percentile": PerChannelMinMaxObserver,
    "mse": PerChannelMse,
}
