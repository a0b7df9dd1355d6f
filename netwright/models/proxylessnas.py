"""ProxylessNAS-Mobile and the lite residual modules that TinyTL puts beside its blocks.

Cai et al. 2019, arXiv:1812.00332: the network found for a phone. Cai et al. 2020, arXiv:2007.11622, Section 3.3.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.space import OFA_RESOLUTIONS, SearchSpace, small_resolutions
from netwright.nn.block import chain
from netwright.nn.layers import Norm, norm
from netwright.nn.mbconv import MBConv

ARCH = Arch(
    resolution=224,
    depths=(2, 4, 4, 4, 4, 1),
    kernels=(5, 3, 7, 3, 5, 5, 7, 5, 5, 5, 5, 5, 5, 5, 7, 7, 7, 7, 7),
    expansions=(3, 3, 3, 3, 3, 3, 6, 3, 3, 3, 6, 3, 3, 3, 6, 6, 3, 3, 6),
)


def proxyless_config(classes: int, normalization: Norm, *, first_stage: Stage, base_width: float = 1.0) -> MobileConfig:
    """Return what ProxylessNAS's networks share; they differ in their first stage and their width."""
    return MobileConfig(
        classes=classes,
        stem_channels=32,
        stem_stride=2,
        stem_activation="relu6",
        first_channels=16,
        stages=(
            first_stage,
            Stage(40, 2, "relu6", blocks=4),
            Stage(80, 2, "relu6", blocks=4),
            Stage(96, 1, "relu6", blocks=4),
            Stage(192, 2, "relu6", blocks=4),
            Stage(320, 1, "relu6", blocks=1),
        ),
        last_channels=1280,
        base_width=base_width,
        normalization=normalization,
        eps=1e-3,
    )


def proxylessnas_mobile(
    classes: int = 1000, *, normalization: Norm = "batch", lite_residual: bool = False
) -> nn.Sequential:
    """Return the network; with `lite_residual`, each block but the first has a lite residual module beside it."""
    config = proxyless_config(classes, normalization, first_stage=Stage(32, 2, "relu6", blocks=2))
    modules: dict[str, nn.Module] = {}
    pixels = 128  # the side that kernels of the small branches are chosen for, whatever the input is
    for name, block in mobile_blocks(config, ARCH).items():
        modules[name] = block.build()
        if lite_residual and isinstance(block, MBConv) and name.startswith("stage"):
            modules[name] = LiteResidual(modules[name], block, min(5, _odd(pixels // 2)))
            pixels //= block.stride
    return chain(modules)


def _odd(side: int) -> int:
    """Return the largest odd number that is not above a side."""
    return side - (side + 1) % 2


class LiteResidual(nn.Module):
    """A block, and beside it half its resolution: pooling, a convolution of two groups, a pointwise one; added up."""

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

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y_BCHW = self.main(x_BCHW)
        small_BChw = self.lite(x_BCHW)
        return y_BCHW + nn.functional.interpolate(small_BChw, y_BCHW.shape[2:], mode="bilinear")


def proxyless_small(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """The ProxylessNAS space (MobileNetV2 blocks, arXiv:1812.00332) for inputs of 32 to 96 pixels."""
    config = MobileConfig(
        classes=classes,
        stem_channels=16,
        stem_stride=1 if size < 64 else 2,
        stem_activation="relu6",
        first_channels=16,
        stages=(
            Stage(24, 2, "relu6"),
            Stage(40, 2, "relu6"),
            Stage(64, 1, "relu6"),
            Stage(96, 2, "relu6"),
        ),
        last_channels=384,
        normalization=normalization,
    )
    space = SearchSpace(
        name="proxyless-small",
        resolutions=small_resolutions(size),
        depths=((1, 2, 3),) * 4,
        kernels=((3, 5, 7),) * 12,
        expansions=((3, 4, 6),) * 12,
        widths=((0.5, 0.75, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def ofa_proxyless(*, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """ProxylessNAS's stages (arXiv:1812.00332) at width 1.3; the supernet d234_e346_k357_w1.3
    that Once-for-all published (arXiv:1908.09791, Section 4.1). The last stage has one block.
    """
    config = proxyless_config(classes, normalization, first_stage=Stage(24, 2, "relu6", blocks=4), base_width=1.3)
    space = SearchSpace(
        name="ofa-proxyless-w1.3",
        resolutions=OFA_RESOLUTIONS,
        depths=(*((2, 3, 4),) * 5, (1,)),
        kernels=((3, 5, 7),) * 21,
        expansions=((3, 4, 6),) * 21,
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)
