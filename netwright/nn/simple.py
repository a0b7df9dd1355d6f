"""Stem and head blocks of convolutional networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from netwright.nn.block import Block, Shape, conv_out, named
from netwright.nn.layers import ACTIVATIONS, Activation, Norm, Padding, conv_norm


@dataclass(frozen=True)
class ConvNorm(Block):
    """Convolution, normalisation, activation."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    activation: Activation = "relu6"
    normalization: Norm = "batch"
    eps: float = 1e-5
    padding: Padding = "symmetric"

    def __repr__(self) -> str:
        return named(self, "padding")

    def build(self) -> nn.Module:
        return conv_norm(
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.stride,
            activation=self.activation,
            normalization=self.normalization,
            eps=self.eps,
            padding=self.padding,
        )

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.out_channels, conv_out(in_shape[1], self.stride), conv_out(in_shape[2], self.stride)

    def macs(self, in_shape: Shape) -> int:
        _, out_h, out_w = self.out_shape(in_shape)
        return out_h * out_w * self.in_channels * self.out_channels * self.kernel**2


@dataclass(frozen=True)
class PoolHead(Block):
    """Global average pooling, an optional hidden layer with activation, dropout-free classifier.

    The hidden layer without bias is MobileNetV3's last 1x1 convolution after pooling (arXiv:1905.02244, Figure 5).
    """

    in_channels: int
    classes: int
    hidden: int = 0
    activation: Activation = "hswish"

    def build(self) -> nn.Module:
        return PoolHeadModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return (self.classes,)

    def macs(self, in_shape: Shape) -> int:
        if not self.hidden:
            return self.in_channels * self.classes
        return self.hidden * (self.in_channels + self.classes)


class PoolHeadModule(nn.Module):
    """The network piece that `PoolHead` describes."""

    def __init__(self, spec: PoolHead):
        super().__init__()
        if spec.hidden:
            self.hidden = nn.Linear(spec.in_channels, spec.hidden, bias=False)
            self.act = ACTIVATIONS[spec.activation]()
        self.classifier = nn.Linear(spec.hidden or spec.in_channels, spec.classes)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x_BC = x_BCHW.mean((2, 3))
        if hasattr(self, "hidden"):
            x_BC = self.act(self.hidden(x_BC))
        return self.classifier(x_BC)
