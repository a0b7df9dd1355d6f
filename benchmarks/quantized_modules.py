"""Random modules with what quantizers get wrong: several results, resizing, normalization in odd places."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Piece = Callable[[Tensor], Tensor]


class Attended(nn.Module):
    """Channel and spatial attention by means and greatest values (Woo et al. 2018, arXiv:1807.06521)."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        ends = functional.adaptive_avg_pool2d(x_BCHW, 1), functional.adaptive_max_pool2d(x_BCHW, 1)
        x_BCHW = x_BCHW * torch.sigmoid(torch.add(*(self.excite(torch.relu(self.squeeze(end))) for end in ends)))
        maps = torch.cat([x_BCHW.mean(1, keepdim=True), x_BCHW.max(1, keepdim=True)[0]], 1)
        return x_BCHW * torch.sigmoid(self.place(maps))


class Tokens(nn.Module):
    """BatchNorm1d over the tokens of a linear layer."""

    def __init__(self, channels: int, side: int):
        super().__init__()
        self.linear, self.norm = nn.Linear(side * side, side * side), nn.BatchNorm1d(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.norm(self.linear(x_BCHW.flatten(2))).view(x_BCHW.shape)


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Piece):
        super().__init__()
        self.function = function

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.function(x_BCHW)


def _shuffled(x: Tensor) -> Tensor:
    return torch.cat(x.chunk(2, 1)[::-1], 1)


def _interpolated(**options: Any) -> Piece:
    return lambda x: functional.interpolate(x, **options)


FUNCTIONS: tuple[Piece, ...] = (
    *(functional.relu, functional.relu6, functional.hardswish, torch.sigmoid, torch.tanh, functional.silu),
    *(
        functional.hardsigmoid,
        functional.leaky_relu,
        functional.elu,
        functional.gelu,
        functional.mish,
        torch.abs,
        torch.neg,
    ),
    *(lambda x: 1 - x, lambda x: x / 3, lambda x: x / (1 + x.abs()), lambda x: x.softmax(1), lambda x: x.softmax(-1)),
    *(lambda x: x + x.max(1, keepdim=True)[0], lambda x: x - x.amin((2, 3), keepdim=True)),
    *(
        lambda x: x + x.min(1, keepdim=True).values,
        lambda x: x.sort(1)[0],
        lambda x: x.topk(4, 1)[0].repeat(1, 2, 1, 1),
    ),
    *(lambda x: x - x.median(1, keepdim=True)[0], lambda x: x.kthvalue(3, 1, keepdim=True)[0] + x),
    *(lambda x: x.cummax(1)[0], lambda x: x - x.aminmax(dim=1, keepdim=True)[0]),
    *(lambda x: x / torch.std_mean(x, (2, 3), keepdim=True)[0], lambda x: x - x.mean(1, True)),
    *(lambda x: torch.stack(x.unbind(1)[::-1], 1), lambda x: torch.cat(x.tensor_split(3, 1)[::-1], 1), _shuffled),
    *(lambda x: functional.max_pool2d(x, 3, 1, 1, return_indices=True)[0], lambda x: functional.max_pool2d(x, 2)),
    *(
        lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
        lambda x: functional.avg_pool2d(x, 3, 1, 1),
    ),
    *(
        lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
        lambda x: functional.max_pool2d(x, 3, 1, 2, dilation=2),
    ),
    *(
        lambda x: functional.avg_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    ),
    *(_interpolated(scale_factor=1.25), _interpolated(scale_factor=1.3, mode="bilinear")),
    *(_interpolated(scale_factor=1.3, mode="bilinear", recompute_scale_factor=True), _interpolated(scale_factor=2)),
    *(_interpolated(size=(13, 11), mode="bilinear", align_corners=True), _interpolated(size=(9, 9), mode="bicubic")),
    *(_interpolated(size=(9, 9), mode="bilinear", antialias=True), _interpolated(size=(7, 7), mode="nearest-exact")),
    *(lambda x: functional.pad(x, (1, 2, 0, 1), mode="reflect"), lambda x: functional.pad(x, (1, 0, 2, 1), value=0.5)),
    *(
        lambda x: functional.normalize(x),
        lambda x: functional.layer_norm(x, x.shape[1:]),
        lambda x: x * x,
        lambda x: x**2,
    ),
    *(lambda x: functional.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), lambda x: functional.pixel_unshuffle(x[:, :2], 2)),
    *(
        lambda x: torch.maximum(x, -x),
        lambda x: x + x.sum(1, keepdim=True),
        lambda x: x.transpose(2, 3),
        lambda x: x.flip(1),
    ),
    *(
        lambda x: x.roll(1, 1),
        lambda x: x.clamp(max=0.5),
        lambda x: x.clamp(-0.5, 0.75),
        lambda x: torch.add(x, x, alpha=2),
    ),
    *(
        lambda x: x + torch.linspace(-1, 1, x.shape[1]).view(1, -1, 1, 1),
        lambda x: functional.adaptive_avg_pool2d(x, (5, 3)),
    ),
)


def random_module(seed: int) -> nn.Module:
    """Return a network of 3 x 24 x 24 images: convolutions with odd layers and functions between, and a head."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1)]
    odd: list[Callable[[], nn.Module]] = [
        lambda: nn.BatchNorm2d(8),
        lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8)),
        lambda: Attended(8),
        lambda: Tokens(8, 12),
        lambda: nn.Conv2d(8, 8, 3, padding=1, padding_mode=draw.choice(("zeros", "zeros", "circular", "replicate"))),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
        lambda: nn.PReLU(8),
        lambda: nn.ConvTranspose2d(8, 8, 3, 1, 1),
        lambda: nn.InstanceNorm2d(8),
    ]
    for _ in range(draw.randint(0, 2)):
        layers += [draw.choice(odd)(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)]
    layers.append(Apply(FUNCTIONS[seed % len(FUNCTIONS)]))
    if draw.random() < 0.6:
        layers += [nn.LazyConv2d(8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    if draw.random() < 0.7:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)]
    return nn.Sequential(*layers)
