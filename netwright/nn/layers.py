"""The small parts that blocks of several papers share: activations, normalisation, squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import nn

from netwright.core.errors import unknown

Activation = Literal["relu", "relu6", "hswish", "none"]
Norm = Literal["batch", "group"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hswish": lambda: nn.Hardswish(inplace=True),
    "none": nn.Identity,
}


def norm(kind: Norm, channels: int, eps: float = 1e-5) -> nn.Module:
    """Return BatchNorm, or GroupNorm with 8 channels a group (so that cutting channels keeps the groups).

    Raises:
        NetwrightError: another kind.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels, eps=eps)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // 8), channels, eps=eps)
    raise unknown("Normalization", str(kind), get_args(Norm))


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    depthwise: bool = False,
    activation: Activation = "none",
    normalization: Norm = "batch",
    eps: float = 1e-5,
) -> nn.Sequential:
    """Return convolution, normalisation and activation, as children conv, norm and act."""
    groups = in_channels if depthwise else 1
    layer = nn.Sequential()
    layer.add_module(
        "conv", nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    )
    layer.add_module("norm", norm(normalization, out_channels, eps))
    if activation != "none":
        layer.add_module("act", ACTIVATIONS[activation]())
    return layer


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation with hard sigmoid (Hu et al., arXiv:1709.01507; MobileNetV3, arXiv:1905.02244)."""

    def __init__(self, channels: int, reduced: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        scale_BC11 = x_BCHW.mean((2, 3), keepdim=True)
        scale_BC11 = self.expand(nn.functional.relu(self.reduce(scale_BC11)))
        return x_BCHW * nn.functional.hardsigmoid(scale_BC11)


def channel_order(reader_OI: torch.Tensor, normalization: nn.Module | None = None) -> torch.Tensor:
    """Return input channels by falling L1 norm of the weight that reads them; groups of a GroupNorm stay together."""
    importance = reader_OI.abs().transpose(0, 1).flatten(1).sum(1)
    group = importance.numel() // normalization.num_groups if isinstance(normalization, nn.GroupNorm) else 1
    first = importance.view(-1, group).sum(1).argsort(descending=True) * group
    return (first[:, None] + torch.arange(group, device=first.device)).flatten()


@torch.no_grad()
def permute_channels(layer: nn.Module, order: torch.Tensor) -> None:
    """Reorder the output channels of everything in a layer: weights, normalisation, running statistics."""
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.ndim:
            tensor.copy_(tensor[order])
