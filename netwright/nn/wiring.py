"""Which block of a network reads what: chains, and networks whose blocks read others than the one before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from torch import Tensor, nn

from netwright.core.errors import NetwrightError, unknown
from netwright.nn.block import INPUT, Block, Reads, add_nested, chain

V = TypeVar("V")
Blocks = Mapping[str, Block | Reads]


class Turn(NamedTuple):
    """One block's turn: its name, the names of what it reads, and of the values that nobody reads afterwards."""

    name: str
    reads: tuple[str, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Wiring:
    """The order of a network's blocks and what each reads. The last block makes the network's output.

    Attributes:
        inputs: names of the network's inputs.
        turns: one a block, in order.
    """

    inputs: tuple[str, ...]
    turns: tuple[Turn, ...]

    @functools.cached_property
    def is_chain(self) -> bool:
        """Whether every block reads just the one before, and the first one the only input."""
        before = (*self.inputs, *(turn.name for turn in self.turns))
        return len(self.inputs) == 1 and all(
            turn.reads == (name,) for turn, name in zip(self.turns, before, strict=False)
        )

    def run(self, blocks: Mapping[str, Callable[..., V]], *inputs: V) -> V:
        """Call every block on what it reads, drop values after their last reader, return the last block's value."""
        values = dict(zip(self.inputs, inputs, strict=True))
        made = inputs[0]
        for turn in self.turns:
            made = blocks[turn.name](*[values[name] for name in turn.reads])
            for name in turn.done:
                del values[name]
            values[turn.name] = made
        return made


def wire(blocks: Blocks, inputs: tuple[str, ...] = (INPUT,)) -> Wiring:
    """Return what every block reads: what its `Reads` says, else the one before.

    Raises:
        NetwrightError: a block reads what is unknown or comes later, or another number of values than it takes; or its
            output, or an input of the network, is read by nobody.
    """
    reads = sources(blocks, inputs)
    last_reader = {source: name for name, names in reads.items() for source in names}
    output = next(reversed(reads), None)
    for name in (*inputs, *reads):
        if name not in last_reader and name != output:
            raise NetwrightError(
                f"Nobody reads {name!r}. Leave it out, or let a later block read it: Reads(block, from_=({name!r}, ...))."
            )
    done: dict[str, list[str]] = {name: [] for name in reads}
    for source, name in last_reader.items():
        done[name].append(source)
    return Wiring(inputs, tuple(Turn(name, names, tuple(done[name])) for name, names in reads.items()))


def sources(blocks: Blocks, inputs: tuple[str, ...] = (INPUT,)) -> dict[str, tuple[str, ...]]:
    """Return the names of what every block reads.

    Raises:
        NetwrightError: a block reads what is unknown or comes later, or another number of values than it takes.
    """
    known = list(inputs)
    reads: dict[str, tuple[str, ...]] = {}
    for name, given in blocks.items():
        if name in inputs:
            raise NetwrightError(f"A block is called {name!r}, as the network's input is. Give it another name.")
        block, names = (given.block, given.from_) if isinstance(given, Reads) else (given, (known[-1],))
        for source in names:
            if source in blocks and source not in known:
                raise NetwrightError(f"Block {name!r} reads {source!r}, which comes later. Put it after {source!r}.")
            if source not in known:
                raise unknown(f"Block {name!r} reads a value that", source, known)
        if block.input_count != len(names):
            raise NetwrightError(
                f"Block {name!r} reads {len(names)} values ({', '.join(names)}); {type(block).__name__} takes "
                f"{block.input_count}. A block that takes another number says so in its input_count."
            )
        reads[name] = names
        known.append(name)
    return reads


def plain(given: Block | Reads) -> Block:
    """Return the block itself, without what it reads."""
    return given.block if isinstance(given, Reads) else given


def is_plain_chain(blocks: Blocks) -> bool:
    """Whether no block says what it reads: the usual case, which needs no wiring."""
    return not any(isinstance(given, Reads) for given in blocks.values())


def assemble(blocks: Blocks) -> nn.Module:
    """Build a network of blocks: nested nn.Sequential where they are a chain, else a `BranchedNetwork`."""
    return connect(wire(blocks), {name: plain(given).build() for name, given in blocks.items()})


def connect(wiring: Wiring, modules: Mapping[str, nn.Module]) -> nn.Module:
    """Join modules to a network: nested nn.Sequential where they are a chain, else a `BranchedNetwork`."""
    return chain(modules) if wiring.is_chain else BranchedNetwork(wiring, modules)


class BranchedNetwork(nn.Module):
    """A network whose blocks read others than the one before. Parameters have the names that a chain's would have."""

    def __init__(self, wiring: Wiring, modules: Mapping[str, nn.Module]):
        super().__init__()
        self._wiring = wiring
        add_nested(self, modules)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        blocks = {turn.name: self.get_submodule(turn.name) for turn in self._wiring.turns}
        return self._wiring.run(blocks, x, *more)
