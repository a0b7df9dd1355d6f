"""The supernets that Once-for-all published, with its layouts, choices and 25 input sizes.

Cai et al. 2020, arXiv:1908.09791, Section 4.1; the facts of the layouts are those of its package `ofa`, held by
tests that copy weights across and compare outputs.
"""

from __future__ import annotations

import functools

from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.proxylessnas import proxyless_config
from netwright.models.resnet import ResNetConfig, resnet_blocks
from netwright.models.space import SearchSpace
from netwright.nn.layers import Norm

RESOLUTIONS = tuple(range(128, 225, 4))


def ofa_mobilenet_v3(width: float, *, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """MobileNetV3-Large (arXiv:1905.02244) with 5 elastic stages; the supernets d234_e346_k357_w1.0 and _w1.2."""
    config = MobileConfig(
        classes=classes,
        stem_channels=16,
        stem_stride=2,
        stem_activation="hswish",
        first_channels=16,
        first_activation="relu",
        stages=(
            Stage(24, 2, "relu", False, 4),
            Stage(40, 2, "relu", True, 4),
            Stage(80, 2, "hswish", False, 4),
            Stage(112, 1, "hswish", True, 4),
            Stage(160, 2, "hswish", True, 4),
        ),
        last_channels=960,
        head_channels=1280,
        base_width=width,
        normalization=normalization,
    )
    space = SearchSpace(
        name=f"ofa-mbv3-w{width}",
        resolutions=RESOLUTIONS,
        depths=((2, 3, 4),) * 5,
        kernels=((3, 5, 7),) * 20,
        expansions=((3, 4, 6),) * 20,
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def ofa_proxyless(*, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """ProxylessNAS's stages (arXiv:1812.00332) at width 1.3; the supernet d234_e346_k357_w1.3. The last stage has one block."""
    config = proxyless_config(classes, normalization, first_stage=Stage(24, 2, "relu6", blocks=4), base_width=1.3)
    space = SearchSpace(
        name="ofa-proxyless-w1.3",
        resolutions=RESOLUTIONS,
        depths=(*((2, 3, 4),) * 5, (1,)),
        kernels=((3, 5, 7),) * 21,
        expansions=((3, 4, 6),) * 21,
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def ofa_resnet50(*, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """ResNet-50-D with elastic depth, bottleneck ratio, stage widths, stem depth and stem widths.

    Depths: four stages, then 0 or 1 residual convolutions in the stem. Widths: multipliers of the stem's hidden and
    output channels, then of the four stages.
    """
    config = ResNetConfig(
        classes=classes,
        stem_channels=64,
        stages=(256, 512, 1024, 2048),
        stage_blocks=(4, 4, 6, 4),
        normalization=normalization,
    )
    space = SearchSpace(
        name="ofa-resnet50",
        resolutions=RESOLUTIONS,
        depths=((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4), (0, 1)),
        expansions=((0.2, 0.25, 0.35),) * 18,
        widths=((0.65, 0.8, 1.0),) * 6,
        per_block=("expansions",),
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(resnet_blocks, config), settings=settings)
