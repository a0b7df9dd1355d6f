"""Joining feature maps of several resolutions.

The exchange unit of HRNet, Wang et al. 2019, arXiv:1908.07919, Section 3.1 and Figure 3: a 1x1 convolution and
nearest-neighbour upsampling of each lower resolution, then the sum. Feature pyramids, Lin et al. 2017, arXiv:1612.03144,
merge in the same way. Concatenation in place of the sum is that of BiSeNet's fusion, Yu et al. 2018, arXiv:1808.00897.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.nn.block import Block, Shape
from netwright.nn.layers import ACTIVATIONS, Activation, Norm, conv_norm


@dataclass(frozen=True)
class Fuse(Block):
    """Each input through a 1x1 convolution to `out_channels`, upsampled to the first one's size; summed or concatenated."""

    in_channels: tuple[int, ...]
    out_channels: int
    join: Literal["sum", "concatenate"] = "sum"
    activation: Activation = "relu"
    normalization: Norm = "batch"

    @property
    def input_count(self) -> int:
        return len(self.in_channels)

    def build(self) -> nn.Module:
        return FuseModule(self)

    def out_shape(self, *in_shapes: Shape) -> Shape:
        """Return the first input's height and width with the joint channels.

        Raises:
            NetwrightError: an input is not a whole factor smaller than the first.
        """
        (_, height, width), *others = in_shapes
        for _, low, narrow in others:
            if height % low or width % narrow or height // low != width // narrow:
                raise NetwrightError(
                    f"Fuse upsamples to its first input, {height}x{width}, by whole factors; {low}x{narrow} does not "
                    "divide it. Choose resolutions that every stride divides."
                )
        return self.out_channels * (len(in_shapes) if self.join == "concatenate" else 1), height, width

    def macs(self, *in_shapes: Shape) -> int:
        return sum(channels * height * width for channels, height, width in in_shapes) * self.out_channels


class FuseModule(nn.Module):
    """The network piece that `Fuse` describes."""

    def __init__(self, spec: Fuse):
        super().__init__()
        self.join = spec.join
        self.branches = nn.ModuleList(
            conv_norm(channels, spec.out_channels, 1, normalization=spec.normalization) for channels in spec.in_channels
        )
        self.act = ACTIVATIONS[spec.activation]()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        size = inputs[0].shape[2:]
        parts = [branch(x_BCHW) for branch, x_BCHW in zip(self.branches, inputs, strict=True)]
        parts = [
            part if part.shape[2:] == size else nn.functional.interpolate(part, size=size, mode="nearest")
            for part in parts
        ]
        if self.join == "concatenate":
            return self.act(torch.cat(parts, 1))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return self.act(total)
