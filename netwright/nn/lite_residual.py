"""Lite residual modules: a small branch that learns beside a frozen block.

Cai et al. 2020, "TinyTL: reduce memory, not parameters for efficient on-device learning", arXiv:2007.11622, Section 3.3.
"""

from __future__ import annotations

from torch import Tensor, nn

from netwright.nn.layers import norm
from netwright.nn.mbconv import MBConv


class LiteResidual(nn.Module):
    """A block, and beside it at half its resolution: pooling, a convolution of two groups, a pointwise one; added up.

    It starts as the block alone: the last normalization of the branch has a scale of 0.
    """

    def __init__(self, main: nn.Module, spec: MBConv, kernel: int):
        super().__init__()
        channels = spec.in_channels
        self.main = main
        self.lite = nn.Sequential()
        self.lite.add_module("pool", nn.AvgPool2d(2))
        self.lite.add_module(
            "conv", nn.Conv2d(channels, channels, kernel, spec.stride, kernel // 2, groups=2, bias=False)
        )
        self.lite.add_module("norm", norm(spec.normalization, channels, spec.eps))
        self.lite.add_module("act", nn.ReLU())
        self.lite.add_module("project", nn.Conv2d(channels, spec.out_channels, 1, bias=False))
        self.lite.add_module("last", norm(spec.normalization, spec.out_channels, spec.eps))
        nn.init.zeros_(self.lite.get_parameter("last.weight"))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.main(x_BCHW)
        small_BChw = self.lite(x_BCHW)
        return y_BCHW + nn.functional.interpolate(small_BChw, y_BCHW.shape[2:], mode="bilinear")
