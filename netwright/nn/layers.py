"""The small parts that blocks of several papers share: activations, normalisation, squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import nn

from netwright.core.errors import unknown

Activation = Literal["relu", "relu6", "hswish", "none"]
Norm = Literal["batch", "group"]
Padding = Literal["symmetric", "same"]

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
    padding: Padding = "symmetric",
) -> nn.Sequential:
    """Return convolution, normalisation and activation, as children conv, norm and act; pad before them where it is uneven."""
    groups, margin = in_channels if depthwise else 1, kernel // 2
    layer = nn.Sequential()
    if padding == "same" and stride > 1:  # at stride 1 both are the same
        layer.add_module("pad", SamePadding(kernel, stride))
        margin = 0
    layer.add_module("conv", nn.Conv2d(in_channels, out_channels, kernel, stride, margin, groups=groups, bias=False))
    layer.add_module("norm", norm(normalization, out_channels, eps))
    if activation != "none":
        layer.add_module("act", ACTIVATIONS[activation]())
    return layer


class SamePadding(nn.Module):
    """Zeros around an image as TensorFlow's SAME padding has them: the odd row and column at the bottom and right."""

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        height, width = (self._missing(int(size)) for size in x_BCHW.shape[-2:])
        return nn.functional.pad(x_BCHW, (width // 2, width - width // 2, height // 2, height - height // 2))

    def _missing(self, size: int) -> int:
        return max(0, (size - 1) // self.stride * self.stride + self.kernel - size)


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
