"""Measured time of each operation, and how far it stays behind what the machine could do.

The efficiency gap and the waterline are those of Lavin 2024, On the efficiency of convolutional neural networks (arXiv
2404.03617): a network's layers side by side, as wide as they have work, as high as their arithmetic intensity; those
under the waterline, the machine's peak rate over its bandwidth, wait for memory. The gap of a layer lies between the
efficiency that its intensity allows and the one measured.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import TorchDispatchMode, is_composed, schema_of, tree_iter, tree_map
from netwright.cost.speed.energy import Metered, measure_energy
from netwright.cost.speed.roofline import Roofline, operand_dtype
from netwright.device.machine import Machine
from netwright.graph.capture.trace import capture
from netwright.graph.capture.undisturbed import undisturbed
from netwright.graph.graph import Graph
from netwright.graph.operations.table import known_as, traits_of

LEAST_RUNS = 5


@dataclass(frozen=True)
class Timed:
    """Seconds of each operation of a graph, and of the whole run without watching; each the least of `runs`.

    Inside the network an operation finds its data where the one before it left them. `total_s` holds besides the
    operations what PyTorch and the module do between them. `unlike`: how many operations ran as others than captured;
    their time is given to what stands at their place in the graph.
    """

    ops_s: tuple[float, ...]
    total_s: float
    runs: int
    threads: int
    unlike: int = 0


def time_ops(module: nn.Module, *inputs: Any, threads: int = 1, seconds: float = 2.0) -> tuple[float, ...]:
    """Return the seconds of each operation of a module, in the order of `capture(module, *inputs).ops`; see `time_module`."""
    return time_module(capture(module, *inputs), module, *inputs, threads=threads, seconds=seconds).ops_s


def time_module(
    graph: Graph,
    module: nn.Module,
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    threads: int = 1,
    seconds: float = 2.0,
) -> Timed:
    """Run a module eagerly on this CPU, in eval mode, and time each operation of its captured graph.

    Takes about `seconds`, but at least five runs of each sort. Inputs on the meta device are replaced by random numbers.
    Denormal numbers count as zero: deep networks without training run into them, and are up to twice as slow then.

    Raises:
        NetwrightError: the module's weights hold no data or are elsewhere than on the CPU, or what runs is hardly
            what was captured.
    """
    _check_weights(module)
    args, kwargs = tree_map(_filled, (inputs, dict(keywords or {})))
    watched: list[list[float]] = []
    whole: list[float] = []
    kinds: list[str] = []
    with _running(module, threads):
        module(*args, **kwargs)
        end = time.perf_counter() + seconds
        while len(whole) < LEAST_RUNS or time.perf_counter() < end:
            start = time.perf_counter()
            module(*args, **kwargs)
            whole.append(time.perf_counter() - start)
            with _Stopwatch() as watch:
                module(*args, **kwargs)
            if kinds and watch.kinds != kinds:
                raise NetwrightError(
                    f"{type(module).__name__} ran other operations the second time: it cannot be timed."
                )
            kinds = watch.kinds
            watched.append(watch.seconds)
    least = [min(times) for times in zip(*watched, strict=True)]
    ops_s, unlike = align([op.kind for op in graph.ops if op.stage == "forward"], kinds, least)
    return Timed(ops_s, min(whole), len(whole), threads, unlike)


def meter_module(module: nn.Module, *inputs: Any, threads: int = 1, seconds: float = 2.0) -> Metered:
    """Return the energy of one eager run by the meters of this machine, or why there are none; see `measure_energy`."""
    _check_weights(module)
    filled = tree_map(_filled, inputs)
    with _running(module, threads):
        return measure_energy(lambda: module(*filled), seconds=seconds)


class _Stopwatch(TorchDispatchMode):
    """Times every operation below autograd, leaving out those that the recorder of graphs leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.seconds: list[float] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(is_composed(value) for value in tree_iter((args, kwargs))):
            return NotImplemented
        start = time.perf_counter()
        out = func(*args, **kwargs)
        end = time.perf_counter()
        kind = known_as(schema_of(func).name)
        if not traits_of(kind).silent:
            self.kinds.append(kind)
            self.seconds.append(end - start)
        return out


def align(captured: Sequence[str], ran: Sequence[str], seconds: Sequence[float]) -> tuple[tuple[float, ...], int]:
    """Return the seconds of what ran by the captured operations at the same place, and how many of those ran as others.

    A real run may differ in small ways from the captured one: a module keeps what it computed the first time, a tensor
    is laid out differently and is not copied, a linear layer is a product and an addition.

    Raises:
        NetwrightError: less than half of the time is of operations that ran as captured.
    """
    times = [0.0] * len(captured)
    like_s, unlike = 0.0, 0
    same = list(captured) == list(ran)
    blocks = [("equal", 0, len(captured), 0, len(ran))] if same else _blocks(captured, ran)
    for tag, start, end, ran_start, ran_end in blocks:
        if tag == "equal":
            times[start:end] = seconds[ran_start:ran_end]
            like_s += sum(seconds[ran_start:ran_end])
            continue
        unlike += end - start
        places = range(start, end) or range(max(0, start - 1), max(1, start))
        for place in places:
            times[place] += sum(seconds[ran_start:ran_end]) / len(places)
    if like_s < 0.5 * sum(seconds) or not captured:
        place = next((n for n, pair in enumerate(zip(captured, ran, strict=False)) if pair[0] != pair[1]), 0)
        met = [kinds[place] if place < len(kinds) else "nothing" for kinds in (captured, ran)]
        raise NetwrightError(
            f"What runs is not what was captured (first {met[0]} and {met[1]}), so times cannot be given to operations. "
            "Does the module choose its path by the values it sees, or was the graph captured on other inputs?"
        )
    return tuple(times), unlike


def _blocks(captured: Sequence[str], ran: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    return difflib.SequenceMatcher(None, captured, ran, autojunk=False).get_opcodes()


@dataclass(frozen=True)
class Gap:
    """What one layer could reach and what it did; efficiencies are shares of the machine's peak rate (0 to 1).

    `intensity`: multiply-accumulates a byte. `waterline`: the intensity below which the machine waits for memory.
    `possible`: the efficiency that the intensity allows. `reached`: the measured one. `utilisation`: the least possible
    time over the measured one, which also says something of layers without multiply-accumulates.
    """

    path: str
    macs: int
    bytes: int
    intensity: float
    waterline: float
    bound: str
    bound_ms: float
    measured_ms: float
    possible: float
    reached: float

    @property
    def utilisation(self) -> float:
        return self.bound_ms / self.measured_ms if self.measured_ms > 0 else 0.0

    @property
    def lost_ms(self) -> float:
        """Milliseconds above the bound."""
        return self.measured_ms - self.bound_ms

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "utilisation": self.utilisation}


def efficiency_gaps(graph: Graph, bounds: Roofline, ops_s: Sequence[float], machine: Machine) -> tuple[Gap, ...]:
    """Return the gap of every layer of a forward pass, in the order in which they first run.

    A layer is all operations that ran while one module was innermost.
    """
    layers: dict[str, list[int]] = {}
    for index, op in enumerate(graph.ops):
        if op.stage == "forward" and not op.view:
            layers.setdefault(op.path, []).append(index)
    gaps = []
    for path, indices in layers.items():
        row = bounds.together(indices)
        measured_ms = 1e3 * sum(ops_s[index] for index in indices)
        heaviest = max(indices, key=lambda index: bounds.ops[index].macs)
        waterline = machine.balance(operand_dtype(graph, graph.ops[heaviest]), bounds.ops[heaviest].bytes) or 0.0
        possible = row.compute_ms / row.ms if row.ms else 0.0
        reached = row.compute_ms / measured_ms if measured_ms > 0 else 0.0
        gaps.append(
            Gap(
                path,
                row.macs,
                row.bytes,
                row.intensity,
                waterline,
                row.bound,
                row.ms,
                measured_ms,
                possible,
                reached,
            )
        )
    return tuple(gaps)


@contextmanager
def _running(module: nn.Module, threads: int) -> Iterator[None]:
    """Set what a captured inference graph supposes, and take it back.

    Also that no parameter learns: even without gradients, matrix products take another path where one does.
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    threads_before = torch.get_num_threads()
    flushed = bool(torch.tensor([1e-40]).mul(1.0) == 0.0)  # torch has no getter
    with undisturbed(module, keep_mode=False):
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            torch.set_num_threads(threads)
            torch.set_flush_denormal(True)
            yield
        finally:
            torch.set_flush_denormal(flushed)
            torch.set_num_threads(threads_before)
            for parameter in learning:
                parameter.requires_grad_(True)


def _check_weights(module: nn.Module) -> None:
    devices = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    if devices - {"cpu"}:
        raise NetwrightError(
            f"{type(module).__name__} is on {', '.join(sorted(devices))}: only a module whose weights are on the CPU "
            "can be timed. Move it there, or build it without torch.device('meta')."
        )


def _filled(value: Any) -> Any:
    """Return a tensor with data on the CPU."""
    if not isinstance(value, Tensor) or not value.is_meta:
        return value.cpu() if isinstance(value, Tensor) else value
    if value.is_floating_point():
        return torch.randn(value.shape, dtype=torch.float32).to(value.dtype)
    return torch.zeros(value.shape, dtype=value.dtype)
