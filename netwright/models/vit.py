"""Vision transformers with elastic depth, embedding width, heads and MLP ratio.

ViT, Dosovitskiy et al. 2021, arXiv:2010.11929; the elastic choices follow AutoFormer, Chen et al. 2021, arXiv:2107.00651.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.models.space import SearchSpace
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


def vit(*, classes: int = 10, size: int = 32) -> Family:
    """Vision transformers (arXiv:2010.11929) of elastic depth, width, heads and MLP ratio (arXiv:2107.00651).

    Up to 95 pixels small ones with patches of 4 or 8 pixels; from 96 on the choices of AutoFormer-Tiny with patches of 16.
    """
    config = vit_config(classes, size)
    large = size >= 96
    depths = (12, 13, 14) if large else (4, 5, 6)
    most = max(depths)
    space = SearchSpace(
        name="vit",
        resolutions=tuple(
            config.patch * round(config.grid * part) for part in ((5 / 7, 6 / 7, 1) if large else (0.75, 0.875, 1))
        ),
        depths=(depths,),
        expansions=((3.5, 4.0) if large else (2.0, 3.0, 4.0),) * most,
        widths=((192, 216, 240) if large else (96, 128, 160),),
        heads=((3, 4) if large else (2, 3, 4, 5),) * most,
        per_block=("expansions", "heads"),
    )
    return Family(space, functools.partial(vit_blocks, config), settings={"classes": classes, "size": size})
