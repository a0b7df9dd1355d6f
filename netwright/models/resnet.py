"""Residual networks of bottlenecks with elastic depth, bottleneck ratio and widths.

ResNet, He et al. 2016, arXiv:1512.03385, in the variant D of "Bag of tricks", He et al. 2019, arXiv:1812.01187;
made elastic as in Once-for-all, Cai et al. 2020, arXiv:1908.09791.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.space import OFA_RESOLUTIONS, SearchSpace
from netwright.nn.block import Block, divisible
from netwright.nn.bottleneck import Bottleneck, MaxPool, ResidualConv
from netwright.nn.layers import Norm
from netwright.nn.simple import ConvNorm, PoolHead


@dataclass(frozen=True)
class ResNetConfig:
    """What all networks of one ResNet family share: channels at width multiplier 1, and most blocks a stage."""

    classes: int
    stem_channels: int
    stages: tuple[int, ...]
    stage_blocks: tuple[int, ...]
    normalization: Norm = "batch"


def resnet_blocks(config: ResNetConfig, arch: Arch) -> Mapping[str, Block]:
    """Return the blocks of one network: stem, pooling, the stages, head.

    `arch.depths`: one depth a stage, then the number of residual convolutions in the stem. `expansions`: hidden over
    output channels, a position for each block a stage may have. `widths`: multipliers of the stem's hidden channels,
    of its output channels, and of each stage.
    """
    hidden_width, stem_width, *stage_widths = arch.widths
    *depths, stem_depth = arch.depths
    norm = config.normalization
    hidden = divisible(divisible(config.stem_channels * hidden_width) // 2)
    channels = divisible(config.stem_channels * stem_width)
    blocks: dict[str, Block] = {"stem.in": ConvNorm(3, hidden, 3, 2, "relu", norm)}
    for index in range(stem_depth):
        blocks[f"stem.{index}"] = ResidualConv(hidden, 3, "relu", norm)
    blocks["stem.out"] = ConvNorm(hidden, channels, 3, 1, "relu", norm)
    blocks["pool"] = MaxPool(3, 2)
    start = 0
    for number, (stage, width, depth) in enumerate(zip(config.stages, stage_widths, depths, strict=True), 1):
        out = divisible(stage * width)
        for index in range(depth):
            hidden = divisible(round(out * arch.expansions[start + index]))
            stride = 2 if index == 0 and number > 1 else 1
            blocks[f"stage{number}.{index}"] = Bottleneck(channels, out, hidden, stride, index == 0, norm)
            channels = out
        start += config.stage_blocks[number - 1]
    blocks["head"] = PoolHead(channels, config.classes)
    return blocks


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
        resolutions=OFA_RESOLUTIONS,
        depths=((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4), (0, 1)),
        expansions=((0.2, 0.25, 0.35),) * 18,
        widths=((0.65, 0.8, 1.0),) * 6,
        per_block=("expansions",),
    )
    settings = {"classes": classes, "normalization": normalization}
    return Family(space, functools.partial(resnet_blocks, config), settings=settings)
