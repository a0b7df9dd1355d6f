"""A family: a search space and the one function that describes its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Size, Tensor, nn

from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.nn.block import Block, Shape, assemble, shapes

CutRule = Callable[[Tensor, Size], Tensor]


@dataclass(frozen=True)
class Family:
    """What is needed to build, cut, price and measure every network of a space.

    `blocks(arch)` names the blocks of a network in order; a smaller arch uses a subset of the names of the
    largest one. `rules` maps the end of a tensor's name to a cut other than leading channels and kernel centre.
    `settings` are the JSON values from which `spaces.family(space.name, **settings)` makes the family again.
    """

    space: SearchSpace
    blocks: Callable[[Arch], Mapping[str, Block]]
    rules: Mapping[str, CutRule] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self, arch: Arch) -> nn.Sequential:
        """Return the static network of an arch, freshly initialised; it knows nothing of supernets."""
        return assemble(self.blocks(arch))

    def priced_blocks(self, arch: Arch) -> list[tuple[str, Block, Shape]]:
        """Return (name, block, input shape) in order: what cost tables and latency models are keyed by."""
        blocks = self.blocks(arch)
        at = shapes(blocks, (3, arch.resolution, arch.resolution))
        return [(name, block, at[name]) for name, block in blocks.items()]

    def macs(self, arch: Arch) -> int:
        """Return the multiply-accumulates of the network, batch 1."""
        return sum(block.macs(shape) for _, block, shape in self.priced_blocks(arch))

    def params(self, arch: Arch) -> int:
        """Return the number of parameters of the network."""
        return sum(block.params() for block in self.blocks(arch).values())
