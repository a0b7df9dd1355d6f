"""Inverted residual bottleneck with depthwise convolution.

MobileNetV2, Sandler et al. 2018, arXiv:1801.04381; squeeze-excite after MobileNetV3, Howard et al. 2019, arXiv:1905.02244.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netwright.nn.block import Block, Shape, conv_out, divisible, named
from netwright.nn.layers import Activation, Norm, Padding, SqueezeExcite, channel_order, conv_norm, permute_channels


@dataclass(frozen=True)
class MBConv(Block):
    """Expand 1x1, depthwise kxk, squeeze-excite, project 1x1; residual where the shapes allow."""

    in_channels: int
    out_channels: int
    hidden: int
    kernel: int
    stride: int = 1
    activation: Activation = "relu6"
    squeeze_excite: bool = False
    normalization: Norm = "batch"
    eps: float = 1e-5
    padding: Padding = "symmetric"

    def __repr__(self) -> str:
        return named(self, "padding")

    @property
    def reduced(self) -> int:
        """Channels inside the squeeze-excite: a quarter of the hidden ones, 0 without it."""
        return divisible(self.hidden / 4) if self.squeeze_excite else 0

    @property
    def expands(self) -> bool:
        """Whether there is an expanding convolution (there is none at expansion ratio 1)."""
        return self.hidden != self.in_channels

    def build(self) -> nn.Module:
        return MBConvModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.out_channels, conv_out(in_shape[1], self.stride), conv_out(in_shape[2], self.stride)

    def macs(self, in_shape: Shape) -> int:
        _, out_h, out_w = self.out_shape(in_shape)
        expand = in_shape[1] * in_shape[2] * self.in_channels * self.hidden if self.expands else 0
        depthwise = out_h * out_w * self.hidden * self.kernel**2
        project = out_h * out_w * self.hidden * self.out_channels
        return expand + depthwise + project + 2 * self.hidden * self.reduced


class MBConvModule(nn.Module):
    """The network piece that `MBConv` describes."""

    def __init__(self, spec: MBConv):
        super().__init__()
        parts: dict[str, Any] = {"activation": spec.activation, "normalization": spec.normalization, "eps": spec.eps}
        if spec.expands:
            self.expand = conv_norm(spec.in_channels, spec.hidden, 1, **parts)
        self.depthwise = conv_norm(
            spec.hidden, spec.hidden, spec.kernel, spec.stride, depthwise=True, padding=spec.padding, **parts
        )
        if spec.squeeze_excite:
            self.squeeze_excite = SqueezeExcite(spec.hidden, spec.reduced)
        self.project = conv_norm(spec.hidden, spec.out_channels, 1, normalization=spec.normalization, eps=spec.eps)
        self.residual = spec.stride == 1 and spec.in_channels == spec.out_channels

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = x_BCHW
        if hasattr(self, "expand"):
            y_BCHW = self.expand(y_BCHW)
        y_BCHW = self.depthwise(y_BCHW)
        if hasattr(self, "squeeze_excite"):
            y_BCHW = self.squeeze_excite(y_BCHW)
        y_BCHW = self.project(y_BCHW)
        return x_BCHW + y_BCHW if self.residual else y_BCHW

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put the hidden channels in order of falling L1 norm of the projection; the output does not change.

        Once-for-all (arXiv:1908.09791), Section 3.3, before the width shrinks.
        """
        if not hasattr(self, "expand"):
            return
        project_OI11 = self.project.get_parameter("conv.weight")
        order = channel_order(project_OI11, self.depthwise.get_submodule("norm"))
        permute_channels(self.expand, order)
        permute_channels(self.depthwise, order)
        project_OI11.copy_(project_OI11[:, order])
        if hasattr(self, "squeeze_excite"):
            gate = self.squeeze_excite
            gate.reduce.weight.copy_(gate.reduce.weight[:, order])
            permute_channels(gate.expand, order)
            inner = channel_order(gate.expand.weight)
            permute_channels(gate.reduce, inner)
            gate.expand.weight.copy_(gate.expand.weight[:, inner])
