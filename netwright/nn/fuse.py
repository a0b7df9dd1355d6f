"""Joining feature maps of several resolutions.

The exchange unit of HRNet, Wang et al. 2019, arXiv:1908.07919, Section 3.1 and Figure 3: a higher resolution through a
3x3 convolution of stride 2, an equal one through a 1x1 convolution, a lower one through a 1x1 convolution and
nearest-neighbour upsampling; then the sum. Feature pyramids, Lin et al. 2017, arXiv:1612.03144, merge in the same way.
Concatenation in place of the sum is that of BiSeNet's fusion, Yu et al. 2018, arXiv:1808.00897.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from netwright.core.errors import NetwrightError
from netwright.nn.block import Block, Shape, conv_out
from netwright.nn.layers import ACTIVATIONS, Activation, Norm, conv_norm


@dataclass(frozen=True)
class Fuse(Block):
    """Each input through a convolution to `out_channels`, all brought to one resolution; summed, or concatenated.

    `strides`, one an input: 1 for a 1x1 convolution, 2 for a 3x3 convolution of stride 2. `upsample`, one an input: the
    whole factor by which the convolution's result is repeated. Empty: 1 for each.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    strides: tuple[int, ...] = ()
    upsample: tuple[int, ...] = ()
    join: Literal["sum", "concatenate"] = "sum"
    activation: Activation = "relu"
    normalization: Norm = "batch"

    @property
    def input_count(self) -> int:
        return len(self.in_channels)

    @property
    def branches(self) -> tuple[tuple[int, int, int, int], ...]:
        """Channels, kernel size and stride of each input's convolution, and the factor of upsampling.

        Raises:
            NetwrightError: strides other than 1 and 2, factors below 1, or not one an input.
        """
        count = len(self.in_channels)
        strides, factors = self.strides or (1,) * count, self.upsample or (1,) * count
        if len(strides) != count or len(factors) != count or not set(strides) <= {1, 2} or min(factors) < 1:
            raise NetwrightError(
                f"Fuse takes a stride of 1 or 2 and a factor from 1 on for each of {count} inputs: {strides}, {factors}."
            )
        kernels = (1 if stride == 1 else 3 for stride in strides)
        return tuple(zip(self.in_channels, kernels, strides, factors, strict=True))

    def build(self) -> nn.Module:
        return FuseModule(self)

    def out_shape(self, *in_shapes: Shape) -> Shape:
        """Return the channels of all results with their common height and width.

        Raises:
            NetwrightError: they are not of one size.
        """
        sizes = [
            (conv_out(height, stride) * factor, conv_out(width, stride) * factor)
            for (_, height, width), (_, _, stride, factor) in zip(in_shapes, self.branches, strict=True)
        ]
        if len(set(sizes)) > 1:
            told = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise NetwrightError(
                f"Fuse joins results of one size, not {told}. Choose strides and factors that bring its inputs to one "
                "size, and resolutions that they divide."
            )
        return self.out_channels * (len(sizes) if self.join == "concatenate" else 1), *sizes[0]

    def macs(self, *in_shapes: Shape) -> int:
        return self.out_channels * sum(
            channels * kernel**2 * conv_out(height, stride) * conv_out(width, stride)
            for (_, height, width), (channels, kernel, stride, _) in zip(in_shapes, self.branches, strict=True)
        )


class FuseModule(nn.Module):
    """The network piece that `Fuse` describes."""

    def __init__(self, spec: Fuse):
        super().__init__()
        self.concatenate = spec.join == "concatenate"
        shared: dict[str, Any] = {"normalization": spec.normalization}
        shared["activation"] = spec.activation if self.concatenate else "none"
        self.branches = nn.ModuleList(
            conv_norm(channels, spec.out_channels, kernel, stride, **shared)
            for channels, kernel, stride, _ in spec.branches
        )
        self.factors = tuple(factor for *_, factor in spec.branches)
        self.act = nn.Identity() if self.concatenate else ACTIVATIONS[spec.activation]()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        parts = [branch(x_BCHW) for branch, x_BCHW in zip(self.branches, inputs, strict=True)]
        parts = [
            part if factor == 1 else functional.interpolate(part, scale_factor=factor)
            for part, factor in zip(parts, self.factors, strict=True)
        ]
        if self.concatenate:
            return torch.cat(parts, 1)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return self.act(total)
