"""Mobile networks of inverted bottlenecks with elastic depth, kernel size, expansion ratio and width.

MobileNetV3, Howard et al. 2019, arXiv:1905.02244; ProxylessNAS, Cai et al. 2019, arXiv:1812.00332;
stage layouts as in Once-for-all, Cai et al. 2020, arXiv:1908.09791, Appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.models.arch import Arch
from netwright.nn.block import Block, divisible
from netwright.nn.layers import Activation, Norm
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


def mobile_blocks(config: MobileConfig, arch: Arch) -> Mapping[str, Block]:
    """Return the blocks of one network: stem, a block without expansion, the stages, last convolution if there is one, head.

    `arch.depths` is one depth a stage; `kernels` and `expansions` have a position for each block a stage may have;
    `widths` is one multiplier, relative to the family's `base_width`, or empty where the width is not elastic.
    """
    width = config.base_width * (arch.widths[0] if arch.widths else 1)
    shared = {"normalization": config.normalization, "eps": config.eps}
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
