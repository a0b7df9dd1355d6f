"""The memory of a training step of whole populations, from the joint graph of each block."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.progress import track
from netwright.cost.memory.training import OPTIMIZERS
from netwright.cost.memory.workspace import workspace_of
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph
from netwright.models.family import Family
from netwright.models.space import Genes
from netwright.nn.trainable import MODES, trainable_names
from netwright.searching.layout import Key, Layout
from netwright.searching.minimum import Factor, minimize_sum
from netwright.searching.tables import MaxTable

OPTIMIZER = "momentum"  # as in `profile`
_SHIFT = "shift"


@dataclass(frozen=True)
class BlockStep:
    """Bytes of one block in a training step of a chain.

    `standing`: weights, buffers and the optimizer's state. `input`: what it reads. `kept`: what it keeps for its backward pass,
    without its input and its output. `keeps_input`, `keeps_output`: whether it keeps those. `forward`, `backward`: the most
    that is alive inside, with its input. `gradients`: of its parameters.
    """

    standing: int = 0
    input: int = 0
    kept: int = 0
    keeps_input: bool = False
    keeps_output: bool = False
    forward: int = 0
    backward: int = 0
    gradients: int = 0


class TrainingTable(MaxTable):
    """Bytes of one training step, as `cost.memory.training` counts them: weights, buffers, optimizer state, and the most that
    is alive beside them.

    In a chain, what is alive while a block runs is what the blocks before it keep, what it takes itself, and, on the way back,
    the gradients of the blocks after it. Each of the three is read off the blocks, captured one by one; the peak is the
    greatest of these sums. It is a prediction: within 5 % of the whole network's joint graph (the tests hold it to that).

    `mode`: which parameters learn, as in `profile(train=...)`. `batch`: images a step. The optimizer is SGD with momentum.
    """

    exact = False

    def __init__(self, family: Family, mode: str, batch: int, *, layout: Layout | None = None):
        self.family = family
        self.layout = layout or Layout(family)
        with torch.device("meta"):
            trainable_names(family.build(family.space.largest()), mode)  # refuses what is no mode
        self._batch = batch
        self._slots = self._price(mode)
        self.factors = [
            (columns, np.array([one.standing + one.kept + one.input + one.gradients for one in steps], float)[ids])
            for columns, ids, steps in zip(self.layout.columns, self.layout.ids, self._slots, strict=True)
        ]

    def __call__(self, genes: Genes) -> NDArray[np.float64]:
        """Return the bytes of each row of genes [N, G]."""
        before, after = np.zeros(len(genes)), np.zeros(len(genes))
        standing, peak = np.zeros(len(genes)), np.zeros(len(genes))
        columns = [self._columns(slot, genes) for slot in range(len(self._slots))]
        for now in columns:
            after += now["gradients"]
        kept_output = np.zeros(len(genes), bool)
        for now in columns:
            after -= now["gradients"]
            standing += now["standing"]
            here = np.maximum(now["forward"], now["backward"] + after)
            peak = np.maximum(peak, np.where(now["there"], before + here, 0))
            keeps = now["keeps_input"].astype(bool) | kept_output
            before += now["kept"] + np.where(keeps, now["input"], 0)
            kept_output = np.where(now["there"], now["keeps_output"].astype(bool), kept_output)
        resolutions = np.array(self.family.space.resolutions, float)[genes[:, 0]]
        return standing + peak + self._batch * 3 * resolutions**2 * 4

    def excess(self, genes: Genes, bound: float) -> NDArray[np.float64]:
        """Return how far each row is beyond a bound."""
        return np.maximum(self(genes) - bound, 0)

    def excess_factors(self, bound: float) -> list[Factor]:
        """Return small arrays whose sum grows with the bytes; they guide towards networks that fit, and prove nothing."""
        return self.factors

    def minimum(self) -> tuple[float, Genes]:
        """Return the least bytes that are known to be reachable, and an arch that reaches them."""
        space = self.family.space
        _, least = minimize_sum(self.factors, space.sizes)
        tried = space.canonical(np.stack([least, np.zeros_like(space.sizes)]))
        values = self(tried)
        best = int(values.argmin())
        return float(values[best]), tried[best]

    def _columns(self, slot: int, genes: Genes) -> dict[str, NDArray[Any]]:
        ids = self.layout.ids[slot][tuple(genes[:, list(self.layout.columns[slot])].T)]
        return {name: values[ids] for name, values in self._arrays[slot].items()} | {"there": ids > 0}

    def _price(self, mode: str) -> list[list[BlockStep]]:
        """Return for each slot the step of every key that it may hold; others are empty."""
        names, known = self.layout.names, dict[tuple[Any, ...], BlockStep]()
        work = [(slot, number) for slot, ids in enumerate(self.layout.ids) for number in np.unique(ids) if number]
        steps = [[BlockStep()] * len(self.layout.keys) for _ in names]
        learns = [False] * len(names)
        for slot, number in track(work, f"training memory of the blocks of {self.family.space.name}", len(work)):
            key = self.layout.keys[number]
            assert key is not None
            fed = any(learns[:slot])
            module = _built(key)
            trained = _learning(module, names[slot], mode, last=slot == len(names) - 1)
            learns[slot] = learns[slot] or bool(trained)
            at = (key, trained, fed, slot == 0)
            if at not in known:
                known[at] = step_of(module, key[1:], trained, self._batch, fed=fed, first=slot == 0)
            steps[slot][number] = known[at]
        fields = BlockStep.__dataclass_fields__
        self._arrays = [{name: np.array([getattr(one, name) for one in row]) for name in fields} for row in steps]
        return steps


class _Fed(nn.Module):
    """A block whose input has a gradient: it comes from something that learns."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block
        self.shift = nn.Parameter(torch.zeros((), device="meta"))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.block(*(x + self.shift for x in inputs))


def _built(key: Key) -> nn.Module:
    with torch.device("meta"):
        return key[0].build().train()


def _learning(module: nn.Module, slot: str, mode: str, *, last: bool) -> tuple[str, ...]:
    """Return the parameters of a block that learn: the classifier, where the mode asks for it, is in the last block."""
    if mode not in MODES:
        names = [name for name, _ in module.named_parameters()]
        return tuple(one for one in names if any(fnmatchcase(f"{slot}.{one}", part) for part in mode.split(",")))
    if last:
        return trainable_names(module, mode)
    with torch.device("meta"):
        network = nn.ModuleDict({"block": module, "classifier": nn.Linear(1, 1)})
    chosen = trainable_names(network, mode)
    return tuple(name.removeprefix("block.") for name in chosen if name.startswith("block."))


def step_of(
    module: nn.Module, shapes: tuple[Any, ...], trained: tuple[str, ...], batch: int, *, fed: bool, first: bool
) -> BlockStep:
    """Return what a block takes in a training step. `fed`: blocks before it learn. `first`: it reads the images."""
    inputs = [torch.empty(batch, *shape, device="meta") for shape in shapes]
    names = [f"block.{name}" for name in trained] + ([_SHIFT] if fed else [])
    graph = capture(_Fed(module).train(), *inputs, trainable=names)
    split = next((place for place, op in enumerate(graph.ops) if op.stage == "backward"), len(graph.ops))
    raw = {graph.tensors[index].storage for index in graph.inputs}
    read = {graph.tensors[graph.ops[place].outputs[0]].storage for place in range(len(shapes))}
    made = {graph.tensors[index].storage for index in graph.outputs}
    gradients = {graph.tensors[index].storage for name, index in graph.gradients.items() if name != _SHIFT}
    saved = set(graph.saved)
    alive = _timeline(graph, split, ignored=raw | (read if first else set()), made=made)
    weights = sum(s.bytes for s in graph.storages if s.role in ("parameter", "buffer") and s.name != _SHIFT)
    width = 4
    state = sum(
        OPTIMIZERS[OPTIMIZER](graph.tensors[index].elements, width)
        for name, index in graph.gradients.items()
        if name != _SHIFT
    )
    kept = saved - raw - read - made
    return BlockStep(
        standing=weights + state,
        input=0 if first else sum(graph.storages[number].bytes for number in read),
        kept=sum(graph.storages[n].bytes for n in kept if graph.storages[n].role == "activation"),
        keeps_input=bool(saved & read),
        keeps_output=bool(saved & made),
        forward=max(alive[len(shapes) : split], default=0),
        backward=max(alive[split:], default=0),
        gradients=sum(graph.storages[number].bytes for number in gradients),
    )


def _timeline(graph: Graph, split: int, *, ignored: set[int], made: set[int]) -> list[int]:
    """Return the bytes alive while each operation runs; the output is alive on the way back only where it was kept."""
    end = len(graph.ops)
    change = [0] * (end + 1)
    for number, storage in enumerate(graph.storages):
        if storage.role not in ("activation", "input") or number in ignored:
            continue
        last = end if storage.freed is None else storage.freed
        if number in made and number not in graph.saved:
            last = min(last, split)
        first = max(0, min(storage.born, end))
        change[first] += storage.bytes
        change[max(first, last)] -= storage.bytes
    total, alive = 0, []
    for op, step in zip(graph.ops, change, strict=False):
        total += step
        alive.append(total + workspace_of(graph, op))
    return alive
