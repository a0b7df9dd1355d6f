"""A family: a search space and the one function that describes its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Size, Tensor, nn

from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.nn.block import Block, Shape, assemble, shapes

CutRule = Callable[[Tensor, Size], Tensor]


class PlacedBlock(NamedTuple):
    """A block in a network: its name, its description, and the shapes of what it reads."""

    name: str
    block: Block
    shapes: tuple[Shape, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """(block, input shape, ...): equal keys cost the same, so each is priced and measured once."""
        return (self.block, *self.shapes)


Price = Callable[..., float]


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

    def priced_blocks(self, arch: Arch) -> list[PlacedBlock]:
        """Return the blocks in order with their input shapes: what cost tables and latency models are keyed by."""
        blocks = self.blocks(arch)
        at = shapes(blocks, (3, arch.resolution, arch.resolution))
        return [PlacedBlock(name, block, (at[name],)) for name, block in blocks.items()]

    def total(self, arch: Arch, price: Price, offset: float = 0.0) -> float:
        """Return `offset` plus the sum of `price(block, *input shapes)` over the network's blocks."""
        return offset + sum(price(*placed.key) for placed in self.priced_blocks(arch))

    def macs(self, arch: Arch) -> int:
        """Return the multiply-accumulates of the network, batch 1."""
        return sum(placed.block.macs(*placed.shapes) for placed in self.priced_blocks(arch))

    def params(self, arch: Arch) -> int:
        """Return the number of parameters of the network."""
        return sum(block.params() for block in self.blocks(arch).values())
