"""A family: a search space and the one function that describes its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Size, Tensor, nn

from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.nn.block import INPUT, Block, Reads, Shape
from netwright.nn.wiring import Blocks, assemble, is_plain_chain, plain, wire

CutRule = Callable[[Tensor, Size], Tensor]


class PlacedBlock(NamedTuple):
    """A block in a network: its name, its description, the shapes of what it reads, and the names of that.

    `reads` is empty where the block does not say what it reads, but takes what the one before makes.
    """

    name: str
    block: Block
    shapes: tuple[Shape, ...]
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """(block, input shape, ...): equal keys cost the same, so each is priced and measured once."""
        return (self.block, *self.shapes)

    @property
    def wired(self) -> Block | Reads:
        """The block as `blocks(arch)` of a family holds it."""
        return Reads(self.block, self.reads) if self.reads else self.block


Price = Callable[..., float]


@dataclass(frozen=True)
class Family:
    """What is needed to build, cut, price and measure every network of a space.

    `blocks(arch)` names the blocks of a network in order; a smaller arch uses a subset of the names of the
    largest one. A block reads the one before, or what its `Reads` names. `rules` maps the end of a tensor's name to a
    cut other than leading channels and kernel centre. `settings` are the JSON values from which
    `families.family(space.name, **settings)` makes the family again.

    Every method that takes an arch raises NetwrightError for one that is not in the space.
    """

    space: SearchSpace
    blocks: Callable[[Arch], Blocks]
    rules: Mapping[str, CutRule] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self, arch: Arch) -> nn.Module:
        """Return the static network of an arch, freshly initialised; it knows nothing of supernets.

        A chain of blocks is an nn.Sequential.
        """
        self.space.encode(arch)
        return assemble(self.blocks(arch))

    def priced_blocks(self, arch: Arch) -> list[PlacedBlock]:
        """Return the blocks in order with their input shapes: what cost tables and latency models are keyed by."""
        self.space.encode(arch)
        return place_blocks(self.blocks(arch), (3, arch.resolution, arch.resolution))

    def total(self, arch: Arch, price: Price, offset: float = 0.0) -> float:
        """Return `offset` plus the sum of `price(block, *input shapes)` over the network's blocks."""
        return offset + sum(price(*placed.key) for placed in self.priced_blocks(arch))

    def macs(self, arch: Arch) -> int:
        """Return the multiply-accumulates of the network, batch 1."""
        return sum(placed.block.macs(*placed.shapes) for placed in self.priced_blocks(arch))

    def params(self, arch: Arch) -> int:
        """Return the number of parameters of the network."""
        self.space.encode(arch)
        return sum(plain(given).params() for given in self.blocks(arch).values())


def place_blocks(blocks: Blocks, in_shape: Shape) -> list[PlacedBlock]:
    """Return the blocks of a network in order with their input shapes, for an input of a shape.

    Raises:
        NetwrightError: a block reads what it cannot (`wire`).
    """
    placed: list[PlacedBlock] = []
    if is_plain_chain(blocks):
        for name, block in blocks.items():
            block = plain(block)
            placed.append(PlacedBlock(name, block, (in_shape,)))
            in_shape = block.out_shape(in_shape)
        return placed
    known = {INPUT: in_shape}
    for turn in wire(blocks).turns:
        given, shapes = blocks[turn.name], tuple(known[name] for name in turn.reads)
        block = plain(given)
        placed.append(PlacedBlock(turn.name, block, shapes, turn.reads if isinstance(given, Reads) else ()))
        known[turn.name] = block.out_shape(*shapes)
    return placed
