"""Mobile networks of inverted bottlenecks with elastic depth, kernel size, expansion ratio and width.

MobileNetV3, Howard et al. 2019, arXiv:1905.02244; ProxylessNAS, Cai et al. 2019, arXiv:1812.00332;
stage layouts as in Once-for-all, Cai et al. 2020, arXiv:1908.09791, Appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.core.arch import Arch
from netwright.nn.block import Block, divisible
from netwright.nn.layers import Activation, Norm
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead


@dataclass(frozen=True)
class Stage:
    """Blocks of one output width; the first one has the stride."""

    channels: int
    stride: int
    activation: Activation
    squeeze_excite: bool = False


@dataclass(frozen=True)
class MobileConfig:
    """What all networks of one mobile family share. Channels are those at width multiplier 1."""

    classes: int
    stem_channels: int
    stem_stride: int
    stem_activation: Activation
    first_channels: int
    stages: tuple[Stage, ...]
    last_channels: int
    head_channels: int = 0
    base_width: float = 1.0
    normalization: Norm = "batch"


def mobile_blocks(config: MobileConfig, arch: Arch) -> Mapping[str, Block]:
    """Return the blocks of one network: stem, a block without expansion, the stages, last convolution, head.

    `arch.depths` is one depth a stage; `kernels` and `expansions` have a position for each block a stage may have;
    `widths` is one multiplier, relative to the family's `base_width`.
    """
    width = config.base_width * arch.widths[0]
    channels = divisible(config.stem_channels * width)
    norm = config.normalization
    blocks: dict[str, Block] = {"stem": ConvNorm(3, channels, 3, config.stem_stride, config.stem_activation, norm)}
    first = divisible(config.first_channels * width)
    blocks["first"] = MBConv(channels, first, channels, 3, 1, config.stem_activation, False, norm)
    channels = first
    most = len(arch.kernels) // len(config.stages)
    for number, (stage, depth) in enumerate(zip(config.stages, arch.depths, strict=True)):
        out = divisible(stage.channels * width)
        for index in range(depth):
            at = number * most + index
            hidden = divisible(round(channels * arch.expansions[at]))
            stride = stage.stride if index == 0 else 1
            blocks[f"stage{number + 1}.{index}"] = MBConv(
                channels, out, hidden, arch.kernels[at], stride, stage.activation, stage.squeeze_excite, norm
            )
            channels = out
    last = (
        divisible(config.last_channels * width)
        if config.head_channels
        else max(config.last_channels, divisible(config.last_channels * width))
    )
    activation = config.stages[-1].activation
    blocks["last"] = ConvNorm(channels, last, 1, 1, activation, norm)
    hidden = divisible(config.head_channels * width) if config.head_channels else 0
    blocks["head"] = PoolHead(last, config.classes, hidden, activation)
    return blocks
