"""Residual bottleneck of three convolutions, and the other pieces of a ResNet.

ResNet, He et al. 2016, arXiv:1512.03385; the averaging shortcut is variant D of "Bag of tricks for image classification",
He et al. 2019, arXiv:1812.01187, Section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from netwright.nn.block import Block, Shape, conv_out
from netwright.nn.layers import ACTIVATIONS, Activation, Norm, channel_order, conv_norm, norm, permute_channels


@dataclass(frozen=True)
class Bottleneck(Block):
    """1x1 to `hidden` channels, 3x3 with the stride, 1x1 out; added to the input, or to its average pooled 1x1 projection."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int = 1
    project: bool = False
    normalization: Norm = "batch"

    def build(self) -> nn.Module:
        return BottleneckModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.out_channels, conv_out(in_shape[1], self.stride), conv_out(in_shape[2], self.stride)

    def macs(self, in_shape: Shape) -> int:
        _, out_h, out_w = self.out_shape(in_shape)
        reduce = in_shape[1] * in_shape[2] * self.in_channels * self.hidden
        after = self.hidden * (9 * self.hidden + self.out_channels)
        shortcut = self.in_channels * self.out_channels if self.project else 0
        return reduce + out_h * out_w * (after + shortcut)


class BottleneckModule(nn.Module):
    """The network piece that `Bottleneck` describes."""

    def __init__(self, spec: Bottleneck):
        super().__init__()
        norm: Norm = spec.normalization
        self.reduce = conv_norm(spec.in_channels, spec.hidden, 1, activation="relu", normalization=norm)
        self.spatial = conv_norm(spec.hidden, spec.hidden, 3, spec.stride, activation="relu", normalization=norm)
        self.expand = conv_norm(spec.hidden, spec.out_channels, 1, normalization=norm)
        self.shortcut = nn.Sequential()
        if spec.project:
            self.shortcut = conv_norm(spec.in_channels, spec.out_channels, 1, normalization=norm)
            if spec.stride > 1:
                self.pool = nn.AvgPool2d(spec.stride, spec.stride, ceil_mode=True)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = self.expand(self.spatial(self.reduce(x_BCHW)))
        if hasattr(self, "pool"):
            x_BCHW = self.pool(x_BCHW)
        return self.act(y_BCHW + self.shortcut(x_BCHW))

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put both hidden layers in order of falling L1 norm of the convolution that reads them; the output stays.

        Once-for-all (arXiv:1908.09791), Section 3.3, before the width shrinks.
        """
        for layer, reader in ((self.spatial, self.expand), (self.reduce, self.spatial)):
            weight_OIKK = reader.get_parameter("conv.weight")
            order = channel_order(weight_OIKK, layer.get_submodule("norm"))
            permute_channels(layer, order)
            weight_OIKK.copy_(weight_OIKK[:, order])


@dataclass(frozen=True)
class ResidualConv(Block):
    """x + activation(norm(conv(x))): the optional middle of Once-for-all's elastic ResNet stem."""

    channels: int
    kernel: int
    activation: Activation = "relu"
    normalization: Norm = "batch"

    def build(self) -> nn.Module:
        return ResidualConvModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape

    def macs(self, in_shape: Shape) -> int:
        return in_shape[1] * in_shape[2] * (self.channels * self.kernel) ** 2


class ResidualConvModule(nn.Module):
    """The network piece that `ResidualConv` describes."""

    def __init__(self, spec: ResidualConv):
        super().__init__()
        self.conv = nn.Conv2d(spec.channels, spec.channels, spec.kernel, padding=spec.kernel // 2, bias=False)
        self.norm = norm(spec.normalization, spec.channels)
        self.act = ACTIVATIONS[spec.activation]()

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW + self.act(self.norm(self.conv(x_BCHW)))


@dataclass(frozen=True)
class MaxPool(Block):
    """Max pooling with padding kernel // 2."""

    kernel: int
    stride: int

    def build(self) -> nn.Module:
        return nn.MaxPool2d(self.kernel, self.stride, self.kernel // 2)

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape[0], conv_out(in_shape[1], self.stride), conv_out(in_shape[2], self.stride)

    def macs(self, in_shape: Shape) -> int:
        return 0
