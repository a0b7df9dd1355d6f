"""Random numbers that a module draws while it is captured: from where, and whether they decide what runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from netwright.graph.graph import Graph

REDRAWS = 3  # further captures of a module that draws, until one differs


@dataclass(frozen=True)
class Source:
    """A generator of random numbers: its name, and how its state is read, set, and made anew from a seed."""

    name: str
    state: Callable[[], Any]
    restore: Callable[[Any], object]
    reseed: Callable[[int], object]


TORCH = Source("torch", torch.random.get_rng_state, torch.random.set_rng_state, torch.manual_seed)
NUMPY = Source("NumPy", np.random.get_state, np.random.set_state, np.random.seed)
PYTHON = Source("Python's random", random.getstate, random.setstate, random.seed)
_GLOBAL = (PYTHON, NUMPY, TORCH)


def sources(module: nn.Module) -> list[Source]:
    """Return the generators of the process, and those that a module and its parts hold as attributes."""
    return [*_GLOBAL, *_own_sources(module)]


def _own_sources(module: nn.Module) -> Iterator[Source]:
    for path, part in module.named_modules():
        for name, value in [] if isinstance(part, torch.jit.ScriptModule) else list(vars(part).items()):
            source = _source(f"{path}.{name}".lstrip("."), value)
            if source is not None:
                yield source


def _source(name: str, held: Any) -> Source | None:
    if isinstance(held, random.Random):
        return Source(name, held.getstate, held.setstate, held.seed)
    if isinstance(held, np.random.RandomState):
        return Source(name, held.get_state, held.set_state, held.seed)
    if isinstance(held, np.random.Generator):
        bits: Any = held.bit_generator

        def restore(kept: Any) -> None:
            bits.state = kept

        return Source(name, lambda: bits.state, restore, lambda number: restore(type(bits)(number).state))
    if isinstance(held, torch.Generator):
        return Source(name, held.get_state, held.set_state, held.manual_seed)
    return None


def reseed(number: int, module: nn.Module | None = None) -> None:
    """Begin torch's, NumPy's and Python's random numbers anew, and those of generators that a module holds."""
    for source in sources(module) if module else _GLOBAL:
        source.reseed(number)


class Draws:
    """Which generators were drawn from between the making of it and `names`."""

    def __init__(self, module: nn.Module):
        self._before = [(source, _comparable(source.state())) for source in sources(module)]

    def names(self) -> list[str]:
        """Return the names of the generators whose state has changed."""
        return [source.name for source, state in self._before if _comparable(source.state()) != state]


def _comparable(state: Any) -> Any:
    """Return a generator's state with its arrays as bytes."""
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return {name: _comparable(value) for name, value in state.items()}
    return tuple(map(_comparable, state)) if isinstance(state, tuple) else state


def note_of_draws(graph: Graph, names: Sequence[str], again: Callable[[int], Graph]) -> str:
    """Say what one draw of a module's random numbers says about others; `again` captures it with another seed."""
    told = f"the module draws random numbers while it runs ({', '.join(names)})"
    for number in range(1, 1 + REDRAWS):
        other = again(number)
        if _what_ran(other) != _what_ran(graph):
            return (
                f"{told}, and they decide what runs: counted is one draw (operations: {_number(graph)}), "
                f"another ran others ({_number(other)})"
            )
    return f"{told}: counted is one draw; {REDRAWS} more ran the same operations, which does not say that all do"


def _what_ran(graph: Graph) -> list[tuple[str, str, tuple[tuple[int, ...], ...]]]:
    return [(op.kind, op.path, tuple(graph.tensors[index].shape for index in op.outputs)) for op in graph.ops]


def _number(graph: Graph) -> str:
    return f"{sum(not op.view for op in graph.ops):,}"
