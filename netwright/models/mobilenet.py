"""Mobile networks of inverted bottlenecks with elastic depth, kernel size, expansion ratio and width.

MobileNetV3, Howard et al. 2019, arXiv:1905.02244; ProxylessNAS, Cai et al. 2019, arXiv:1812.00332;
stage layouts as in Once-for-all, Cai et al. 2020, arXiv:1908.09791, Appendix A.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.space import OFA_RESOLUTIONS, SearchSpace, small_resolutions
from netwright.nn.block import Block, divisible
from netwright.nn.layers import Activation, Norm, Padding
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead


@dataclass(frozen=True)
class Stage:
    """At most `blocks` blocks of one output width; the first one has the stride."""

    channels: int
    stride: int
    activation: Activation
    squeeze_excite: bool = False
    blocks: int = 3


@dataclass(frozen=True)
class MobileConfig:
    """What all networks of one mobile family share. Channels are those at width multiplier 1."""

    classes: int
    stem_channels: int
    stem_stride: int
    stem_activation: Activation
    first_channels: int
    stages: tuple[Stage, ...]
    last_channels: int  # 0: the head reads the last stage
    head_channels: int = 0
    base_width: float = 1.0
    normalization: Norm = "batch"
    first_activation: Activation | None = None  # None: the stem's
    eps: float = 1e-5
    padding: Padding = "symmetric"


def mobile_blocks(config: MobileConfig, arch: Arch) -> Mapping[str, Block]:
    """Return the blocks of one network: stem, a block without expansion, the stages, last convolution if there is one, head.

    `arch.depths` is one depth a stage; `kernels` and `expansions` have a position for each block a stage may have;
    `widths` is one multiplier, relative to the family's `base_width`, or empty where the width is not elastic.
    """
    width = config.base_width * (arch.widths[0] if arch.widths else 1)
    shared = {"normalization": config.normalization, "eps": config.eps, "padding": config.padding}
    stem = divisible(config.stem_channels * width)
    first = divisible(config.first_channels * width)
    blocks: dict[str, Block] = {
        "stem": ConvNorm(3, stem, 3, config.stem_stride, config.stem_activation, **shared),
        "first": MBConv(stem, first, stem, 3, 1, config.first_activation or config.stem_activation, **shared),
    }
    channels, start = first, 0
    for number, (stage, depth) in enumerate(zip(config.stages, arch.depths, strict=True), 1):
        out = divisible(stage.channels * width)
        for index in range(depth):
            kernel, expansion = arch.kernels[start + index], arch.expansions[start + index]
            hidden = divisible(round(channels * expansion))
            stride = stage.stride if index == 0 else 1
            blocks[f"stage{number}.{index}"] = MBConv(
                channels, out, hidden, kernel, stride, stage.activation, stage.squeeze_excite, **shared
            )
            channels = out
        start += stage.blocks
    activation, last = config.stages[-1].activation, channels
    if config.last_channels:
        last = divisible(config.last_channels * width)
        if not config.head_channels:  # MobileNetV2 and ProxylessNAS never narrow the last convolution
            last = max(config.last_channels, last)
        blocks["last"] = ConvNorm(channels, last, 1, 1, activation, **shared)
    blocks["head"] = PoolHead(
        last, config.classes, divisible(config.head_channels * width) if config.head_channels else 0, activation
    )
    return blocks


def mobilenet_v3_small(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """MobileNetV3-Small's stages (arXiv:1905.02244, Table 2) for inputs of 32 to 96 pixels, with strides to match."""
    config = MobileConfig(
        classes=classes,
        stem_channels=16,
        stem_stride=1 if size < 64 else 2,
        stem_activation="hswish",
        first_channels=16,
        stages=(
            Stage(24, 2, "relu"),
            Stage(40, 2, "hswish", True),
            Stage(48, 1, "hswish", True),
            Stage(96, 2, "hswish", True),
        ),
        last_channels=288,
        head_channels=512,
        normalization=normalization,
    )
    space = SearchSpace(
        name="mobilenet-v3-small",
        resolutions=small_resolutions(size),
        depths=((1, 2, 3),) * 4,
        kernels=((3, 5, 7),) * 12,
        expansions=((2, 3, 4),) * 12,
        widths=((0.5, 0.75, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def tiny(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """A very small mobile space: the demo trains it in a minute or two on two cores."""
    config = MobileConfig(
        classes=classes,
        stem_channels=8,
        stem_stride=2,
        stem_activation="relu",
        first_channels=8,
        stages=(
            Stage(16, 1, "relu", blocks=2),
            Stage(24, 2, "hswish", True, 2),
            Stage(40, 2, "hswish", True, 2),
        ),
        last_channels=96,
        head_channels=128,
        normalization=normalization,
    )
    space = SearchSpace(
        name="tiny",
        resolutions=small_resolutions(size)[-2:],
        depths=((1, 2),) * 3,
        kernels=((3, 5),) * 6,
        expansions=((2, 4, 6),) * 6,
        widths=((0.5, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def ofa_mobilenet_v3_w1_0(*, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """The supernet d234_e346_k357_w1.0 that Once-for-all published (arXiv:1908.09791, Section 4.1)."""
    return _ofa_mobilenet_v3(1.0, classes, normalization)


def ofa_mobilenet_v3_w1_2(*, classes: int = 1000, normalization: Norm = "batch") -> Family:
    """The supernet d234_e346_k357_w1.2 that Once-for-all published (arXiv:1908.09791, Section 4.1)."""
    return _ofa_mobilenet_v3(1.2, classes, normalization)


def _ofa_mobilenet_v3(width: float, classes: int, normalization: Norm) -> Family:
    """MobileNetV3-Large (arXiv:1905.02244) with 5 elastic stages."""
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
        resolutions=OFA_RESOLUTIONS,
        depths=((2, 3, 4),) * 5,
        kernels=((3, 5, 7),) * 20,
        expansions=((3, 4, 6),) * 20,
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)
