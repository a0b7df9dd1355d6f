"""Prices of blocks that are read off their captured operations: energy and peak memory. Each distinct block is captured once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch

from netwright.core.errors import NetwrightError
from netwright.core.progress import track
from netwright.cost.count import count
from netwright.cost.memory.inference import inference_memory
from netwright.cost.speed.energy import energy_parts
from netwright.device.machine import Machine
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph
from netwright.models.family import Price
from netwright.nn.block import Block, Shape
from netwright.searching.limits.kind import Asked

_BLOCKS = 10_000  # remembered, some 10 kB each


def price_blocks(asked: Asked, what: str, price: Price) -> Price:
    """Return the price with every distinct block of the family priced already, telling how far that is."""
    keys = [key for key in asked.layout.keys if key is not None]
    known = {key: price(*key) for key in track(keys, f"{what} of the blocks of {asked.family.space.name}", len(keys))}
    return lambda *key: known[key]


def refuse_branches(asked: Asked, name: str) -> None:
    """Refuse a family with a block that reads others than the one before: what it reads outlives the blocks between.

    Raises:
        NetwrightError: there is one.
    """
    if asked.layout.branches:
        raise NetwrightError(
            f"The limit {name!r} is priced block by block, for chains of blocks; space {asked.family.space.name!r} has blocks "
            "that read others than the one before. Limit macs, params, latency or energy instead."
        )


def peak_of(block: Block, shapes: Sequence[Shape]) -> float:
    """Return the most bytes alive at once while a block runs alone: its input, what it makes, its output."""
    return float(inference_memory(_captured(block, tuple(shapes))).peak_bytes)


def energy_of(block: Block, shapes: Sequence[Shape], machine: Machine, dtype: str) -> float:
    """Return the millijoules of a block on a machine, in a type."""
    graph = _captured(block, tuple(shapes))
    graph = graph if dtype == "float32" else _as_type(graph, dtype)
    return energy_parts(graph, count(graph), machine).total_mj


@functools.lru_cache(maxsize=_BLOCKS)
def _captured(block: Block, shapes: tuple[Shape, ...]) -> Graph:
    with torch.device("meta"):
        module = block.build().eval()
        inputs = [torch.empty(1, *shape) for shape in shapes]
    return capture(module, *inputs)


def _as_type(graph: Graph, dtype: str) -> Graph:
    """Return the graph as if its float32 tensors were of one byte an element."""
    floating = {tensor.storage for tensor in graph.tensors if tensor.dtype == "float32"}
    return dataclasses.replace(
        graph,
        tensors=tuple(
            dataclasses.replace(tensor, dtype=dtype) if tensor.dtype == "float32" else tensor
            for tensor in graph.tensors
        ),
        storages=tuple(
            dataclasses.replace(storage, bytes=storage.bytes // 4) if number in floating else storage
            for number, storage in enumerate(graph.storages)
        ),
    )
