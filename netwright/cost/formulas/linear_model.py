"""Closed forms of what training costs: the linear model, depthwise convolutions, and the backward pass.

Counts are multiply-accumulates (MACs); bytes are of the values kept at the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.core.errors import NetwrightError


@dataclass(frozen=True)
class LinearTraining:
    """Gradient descent on the mean squared error of y = X w, full batch: X is [examples, features], w [features, outputs].

    Each step is w -= rate * (X^T (X w - y)); precomputed, w -= rate * (A w - b) with A = X^T X and b = X^T y.
    """

    examples: int
    features: int
    outputs: int = 1

    def __post_init__(self) -> None:
        if min(self.examples, self.features, self.outputs) < 1:
            raise NetwrightError(f"Examples, features and outputs must be at least 1: {self}.")

    def macs(self, steps: int, *, precompute: bool = False, symmetric: bool = False) -> int:
        """Return the MACs of training. `symmetric`: only half of A is computed, with its diagonal."""
        n, d, k = self.examples, self.features, self.outputs
        if not precompute:
            return steps * 2 * n * d * k
        gram = n * d * (d + 1) // 2 if symmetric else n * d * d
        return gram + n * d * k + steps * d * d * k

    def memory_bytes(self, *, precompute: bool = False, bytes_per_value: int = 4) -> int:
        """Return the bytes held during the steps: data, weights, gradient and residual; precomputed, A and b instead of
        data and residual (X may be streamed once while they are made).
        """
        n, d, k = self.examples, self.features, self.outputs
        values = d * d + 3 * d * k if precompute else n * d + 2 * n * k + 2 * d * k
        return values * bytes_per_value

    def break_even_steps(self, *, symmetric: bool = False) -> int | None:
        """Return the least number of steps from which precomputing takes no more MACs; None if it never does.

        That is n d (d + k) / (k d (2 n - d)), rounded up: it needs more than d / 2 examples.
        """
        saved = self.macs(1) - self.features**2 * self.outputs  # by every step
        if saved <= 0:
            return None
        return math.ceil(self.macs(0, precompute=True, symmetric=symmetric) / saved)


def convolution_macs(
    kernel: int, in_channels: int, out_channels: int, out_pixels: int, *, groups: int = 1, batch: int = 1
) -> int:
    """Return the MACs of a convolution with a square kernel."""
    return batch * out_pixels * out_channels * (in_channels // groups) * kernel**2


def separable_macs(kernel: int, in_channels: int, out_channels: int, out_pixels: int, *, batch: int = 1) -> int:
    """Return the MACs of a depthwise convolution followed by one of 1x1 (Howard et al. 2017, arXiv 1704.04861)."""
    depthwise = convolution_macs(kernel, in_channels, in_channels, out_pixels, groups=in_channels, batch=batch)
    return depthwise + convolution_macs(1, in_channels, out_channels, out_pixels, batch=batch)


def separable_ratio(kernel: int, out_channels: int) -> float:
    """Return depthwise and 1x1 together over the full convolution: 1/out_channels + 1/kernel^2 (the same, Equation 5)."""
    return 1 / out_channels + 1 / kernel**2


def training_macs(forward_macs: int, *, first_layer_macs: int = 0, frozen_macs: int = 0) -> int:
    """Return the MACs of one training step: forward, and twice as many backward.

    Each product of the forward pass is done again for the gradient of its input and for that of its weight. Not so
    for `first_layer_macs`, the layers on the images (no input gradient), and for `frozen_macs`, layers whose weights
    stay but through which gradients pass (no weight gradient).
    """
    return 3 * forward_macs - first_layer_macs - frozen_macs
