"""Vision transformers with elastic depth, embedding width, heads and MLP ratio.

ViT, Dosovitskiy et al. 2021, arXiv:2010.11929; the elastic choices follow AutoFormer, Chen et al. 2021, arXiv:2107.00651.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.models.arch import Arch
from netwright.nn.block import Block, divisible
from netwright.nn.transformer import EncoderLayer, PatchEmbed, TokenHead


@dataclass(frozen=True)
class ViTConfig:
    """What all networks of one ViT family share: patch size in pixels, patches a side at the largest input."""

    classes: int
    patch: int
    grid: int
    head_width: int


def vit_config(classes: int, size: int) -> ViTConfig:
    """Return the settings for an input size: patches of 4, 8 or 16 pixels; heads 32 wide below 96 pixels, else 64."""
    patch = 4 if size < 48 else 8 if size < 96 else 16
    return ViTConfig(classes, patch, max(1, size // patch), 64 if size >= 96 else 32)


def vit_blocks(config: ViTConfig, arch: Arch) -> Mapping[str, Block]:
    """Return the blocks of one network: patch embedding, encoder layers, head.

    `arch.depths` is the number of layers, `widths` the embedding width in channels; `heads` and `expansions` (hidden
    units of the MLP over embedding width) have a position for each layer.
    """
    width, depth = int(arch.widths[0]), arch.depths[0]
    blocks: dict[str, Block] = {"patches": PatchEmbed(width, config.patch, config.grid)}
    for index in range(depth):
        hidden = divisible(round(width * arch.expansions[index]))
        blocks[f"layer.{index}"] = EncoderLayer(width, arch.heads[index], config.head_width, hidden)
    blocks["head"] = TokenHead(width, config.classes)
    return blocks
