"""Blocks of a network joined into one module, for runtimes that compile whole modules."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from netwright.nn.wiring import Wiring, connect

Shape = tuple[int, ...]


def joined(
    parts: Sequence[tuple[nn.Module, tuple[Shape, ...]]], wiring: Wiring | None
) -> tuple[nn.Module, list[Shape]]:
    """Return modules, each with its input shapes, as one module with the shapes of its inputs."""
    module = connected([part for part, _ in parts], wiring)
    if wiring is None:
        return module, list(parts[0][1])
    known = {
        name: shape
        for turn, (_, shapes) in zip(wiring.turns, parts, strict=True)
        for name, shape in zip(turn.reads, shapes, strict=True)
    }
    return module, [known[name] for name in wiring.inputs]


def connected(modules: Sequence[nn.Module], wiring: Wiring | None) -> nn.Module:
    """Return modules as one, each fed by the one before, or as `wiring` says."""
    if wiring is None:
        return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    return connect(wiring, {turn.name: module for turn, module in zip(wiring.turns, modules, strict=True)})
