"""Everything that one network costs, from one capture of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError, unknown
from netwright.cost.count import Counts, Unpriced, count
from netwright.cost.figures import Figure
from netwright.cost.layers import LayerCost, layers_of
from netwright.cost.memory.inference import InferenceMemory, inference_memory
from netwright.cost.memory.training import OPTIMIZERS, TrainingMemory, training_memory
from netwright.cost.memory.workspace import convolution_workspace
from netwright.cost.rules import fvcore_convention
from netwright.cost.rules.own import OwnRules, with_rules
from netwright.cost.savings import Saving, savings_of
from netwright.cost.speed.energy import Metered, energy
from netwright.cost.speed.measured import Timed, meter_module, time_module
from netwright.cost.speed.roofline import Roofline, roofline
from netwright.cost.speed.traffic import moved_bytes
from netwright.device.machine import Machine
from netwright.graph.capture.trace import capture
from netwright.graph.capture.undisturbed import undisturbed
from netwright.graph.graph import Graph
from netwright.nn.trainable import learner


@dataclass(frozen=True)
class Checkpointing:
    """A checkpointing plan in figures, which whoever made the plan puts into `Profile.checkpointing`.

    `peak_bytes` is predicted, of inputs, activations, their gradients and workspace.
    """

    policy: str
    peak_bytes: int
    recomputed_macs: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Profile:
    """What a network costs; every figure is of one call on `inputs`, the whole batch.

    `conventions`: the network's size as others count it. `memory`: activations of inference by the
    plan that folds BatchNorm and works in place, `eager_memory_bytes` as PyTorch runs it, `eager_workspace_bytes` with what
    its convolutions take for themselves on a CPU (float32). `bytes_moved`: read and
    written by all operations. `latency_ms`: timed here, or the least that any runtime needs on the device; `roofline.total`
    and the layers' bounds are of operations that run one by one. `energy_mj`, `latency_ms`: None without a device that has such figures.
    """

    model: str
    inputs: tuple[tuple[int, ...], ...]
    dtype: str
    memory_dtype: str | None
    conventions: dict[str, int]
    counts: Counts
    layers: tuple[LayerCost, ...]
    memory: InferenceMemory
    eager_memory_bytes: int | None
    eager_workspace_bytes: int | None
    bytes_moved: int
    device: Machine | None = None
    roofline: Roofline | None = None
    latency_ms: Figure | None = None
    energy_mj: Figure | None = None
    timed: Timed | None = field(default=None, repr=False)
    training: TrainingMemory | None = None
    checkpointing: Checkpointing | None = None
    savings: tuple[Saving, ...] = ()
    notes: tuple[str, ...] = ()
    graph: Graph | None = field(default=None, repr=False)

    @property
    def graph_dtype(self) -> str:
        """The type of most multiply-accumulates."""
        return max(self.counts.macs_by_dtype, key=lambda name: self.counts.macs_by_dtype[name], default=self.dtype)

    @property
    def params(self) -> int:
        """Number of parameters."""
        return self.counts.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, linear layers and matrix products."""
        return self.counts.macs

    @property
    def flops(self) -> int:
        """Floating-point operations: twice the multiply-accumulates, and all elementwise, norm and pooling work."""
        return self.counts.flops

    @property
    def at_least(self) -> bool:
        """Whether MACs and flops are lower bounds: an operation has no price, or something has no known shape."""
        return self.counts.at_least

    @property
    def macs_text(self) -> str:
        """The multiply-accumulates in words: what is only a lower bound says so."""
        return self._text(self.macs, self.at_least)

    @property
    def flops_text(self) -> str:
        """The operations in words."""
        return self._text(self.flops, self.at_least)

    @property
    def bytes_moved_text(self) -> str:
        """The bytes moved in words."""
        return self._text(self.bytes_moved, self.memory.at_least)

    @property
    def missing(self) -> str | None:
        """Why a figure is only a lower bound, where shapes are not known; None where all are."""
        unknown = self.graph.without_shape if self.graph else 0
        if not unknown:
            return None
        return (
            f"{self.model}: the shapes of {unknown} results could not be found, so MACs, operations and memory are lower "
            "bounds. Export it with fixed sizes, or without what makes a size depend on values."
        )

    def _text(self, value: int, at_least: bool) -> str:
        if at_least and not value and self.missing:
            return "not known"
        return f"at least {value:,}" if at_least else f"{value:,}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a count of which nothing is known is null."""
        nothing = self.missing is not None and not self.macs
        return {
            "model": self.model,
            "input": [list(shape) for shape in self.inputs],
            "dtype": self.dtype,
            "memory_dtype": self.memory_dtype or self.dtype,
            "params": self.params,
            "macs": None if nothing else self.macs,
            "flops": None if nothing else self.flops,
            "at_least": self.at_least,
            "conventions": dict(self.conventions),
            "groups": {
                f"{stage}.{group}": {"macs": work.macs, "flops": work.flops}
                for (stage, group), work in self.counts.totals.items()
            },
            "macs_by_dtype": dict(self.counts.macs_by_dtype),
            "unpriced": [self._unpriced(one) for one in self.counts.unpriced],
            "peak_memory_bytes": self.memory.peak_bytes,
            "peak_memory_at_least": self.memory.at_least,
            "peak_memory_bytes_eager": self.eager_memory_bytes,
            "peak_memory_bytes_eager_with_workspace": self.eager_workspace_bytes,
            "peak_memory_lower_bound_bytes": self.memory.lower_bound_bytes,
            "peak_memory_lower_bound": self.memory.lower_bound_kind,
            "peak_tensors": [
                {"name": one.name, "shape": list(one.shape), "dtype": one.dtype, "bytes": one.bytes}
                for one in self.memory.peak_tensors
            ],
            "training": self.training.to_json() if self.training else None,
            "checkpointing": self.checkpointing.to_json() if self.checkpointing else None,
            "bytes_moved": self.bytes_moved,
            "device": self.device.name if self.device else None,
            "energy_mj": self.energy_mj.to_json() if self.energy_mj else None,
            "latency_ms": self.latency_ms.to_json() if self.latency_ms else None,
            "latency_bound_ms": self._bounds(),
            "savings": [saving.to_json() for saving in self.savings],
            "notes": list(self.notes),
            "layers": [layer.to_json() for layer in self.layers],
        }

    def _bounds(self) -> dict[str, float] | None:
        if self.roofline is None:
            return None
        return {"any_runtime": self.roofline.floor.value, "one_by_one": self.roofline.total.value}

    def _unpriced(self, one: Unpriced) -> dict[str, Any]:
        share = None
        if self.timed and self.graph:
            every = zip(self.graph.ops, self.timed.ops_s, strict=True)
            share = sum(seconds for op, seconds in every if op.kind == one.kind) / sum(self.timed.ops_s)
        return {
            "kind": one.kind,
            "calls": one.calls,
            "share_of_elements": one.share_of_elements,
            "share_of_time": share,
        }

    def _repr_html_(self) -> str:
        """Show the totals in a notebook."""
        rows = [
            ("input", ", ".join("x".join(map(str, shape)) for shape in self.inputs)),
            ("parameters", f"{self.params:,}"),
            ("multiply-accumulates", self.macs_text),
            ("operations", self.flops_text),
            ("peak memory, inference", f"{self.memory.peak_bytes:,} bytes"),
            ("bytes moved", self.bytes_moved_text),
        ]
        if self.training:
            rows.append((f"training memory, {self.training.mode}", f"{self.training.total_bytes:,} bytes"))
        for name, figure, unit in (("latency", self.latency_ms, "ms"), ("energy", self.energy_mj, "mJ")):
            if figure:
                rows.append((name, f"{figure.value:.4g} {unit}, {figure.kind}"))
        body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table><caption>{escape(self.model)}</caption>{body}</table>"


def profile(
    model: nn.Module | Graph,
    *inputs: Any,
    name: str | None = None,
    device: Machine | None = None,
    train: str | None = None,
    optimizer: str = "momentum",
    dtype: str | None = None,
    measure: bool = False,
    rules: OwnRules | None = None,
) -> Profile:
    """Return what a module, or a graph that was read from a file, costs for one call on these inputs.

    Inputs may be on the meta device. `train`: also the memory of one training step; full, last, bias, norm+last, or a
    pattern of parameter names; the batch is the inputs' own. `dtype`: what memory would be in that type. `measure`: run
    the module and time each operation on this machine. `rules`: prices of operations of your own by torch's name of them,
    {"my::op": rule}; a rule is a function (graph, op) -> Work, or `Traits`, see `netwright.cost.rules.own`.

    Raises:
        NetwrightError: the module does not run on these inputs, or an argument is none of what is allowed.
    """
    if optimizer not in OPTIMIZERS:
        raise unknown("The optimizer", optimizer, OPTIMIZERS)
    if isinstance(model, Graph):
        if train or measure:
            raise NetwrightError(
                "A graph read from a file can be counted, but not trained or timed. "
                "Give the module that it was made from, or leave --train and --measure out."
            )
        graph = model
    else:
        if not inputs:
            raise NetwrightError("profile needs an example input, for example torch.empty(1, 3, 224, 224).")
        graph = capture(model, *inputs)
    graph = with_rules(graph, rules)
    counts = count(graph)
    moved = moved_bytes(graph)
    memory = inference_memory(graph, dtype=dtype)
    eager_bytes, eager_with_workspace = None, None
    if not isinstance(model, Graph):
        eager_bytes = inference_memory(graph, rules="eager", dtype=dtype).peak_bytes
        if dtype in (None, "float32"):
            eager_with_workspace = inference_memory(graph, rules="eager", workspace=convolution_workspace).peak_bytes
    bounds = roofline(graph, counts, device) if device else None
    timed, metered = _run(graph, model, inputs) if measure and isinstance(model, nn.Module) else (None, None)
    joint = with_rules(_joint(model, inputs, train), rules) if train and isinstance(model, nn.Module) else None
    training = training_memory(joint, mode=train or "", optimizer=optimizer) if joint else None
    layers = layers_of(graph, counts, moved, bounds, timed.ops_s if timed else None)
    return Profile(
        model=name or type(model).__name__,
        inputs=tuple(graph.tensors[index].shape for index in graph.inputs),
        dtype=_dtype(graph),
        memory_dtype=dtype,
        conventions={
            "macs": counts.macs,
            "flops": counts.flops,
            "fvcore": fvcore_convention.total(graph, counts.works),
        },
        counts=counts,
        layers=layers,
        memory=memory,
        eager_memory_bytes=eager_bytes,
        eager_workspace_bytes=eager_with_workspace,
        bytes_moved=sum(moved),
        device=device,
        roofline=bounds,
        latency_ms=Figure(1e3 * timed.total_s, "measured") if timed else bounds.floor if bounds else None,
        timed=timed,
        energy_mj=metered.figure if metered and metered.figure else _energy(graph, counts, device),
        training=training,
        savings=savings_of(graph, counts, memory, moved, training, eager_bytes=_with_inputs(graph, eager_bytes)),
        notes=(
            *_notes(graph, bounds, metered),
            *_training_notes(graph, joint),
            *(_too_large(graph, memory, device) if device else ()),
        ),
        graph=graph,
    )


def _energy(graph: Graph, counts: Counts, device: Machine | None) -> Figure | None:
    if device is None:
        return None
    figure = energy(graph, counts, device)
    return replace(figure, kind="bounded") if counts.at_least else figure


def _run(graph: Graph, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Timed, Metered]:
    try:
        return time_module(graph, module, *inputs), meter_module(module, *inputs)
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NetwrightError(f"The network does not run here: {reason}. Try a smaller batch or image.") from error


def _notes(graph: Graph, bounds: Roofline | None, metered: Metered | None) -> tuple[str, ...]:
    unmetered = (f"energy was not measured: {metered.meter}",) if metered and metered.figure is None else ()
    return (*graph.notes, *(bounds.notes if bounds else ()), *unmetered)


def _training_notes(graph: Graph, joint: Graph | None) -> tuple[str, ...]:
    """Return what only the capture of a training step had to say."""
    notes = joint.notes if joint else ()
    return tuple(f"training: {note}" for note in notes if note not in graph.notes)


def _too_large(graph: Graph, memory: InferenceMemory, device: Machine) -> Iterator[str]:
    """Say what does not fit a device that has its memories on the chip, in the types of the graph."""
    weights = sum(storage.bytes for storage in graph.storages if storage.role == "parameter")
    needs = (
        ("weights", weights, "flash", device.flash_bytes),
        ("activations", memory.peak_bytes, "SRAM", device.sram_bytes if device.dram_bytes is None else None),
    )
    for what, needed, where, room in needs:
        if room is not None and needed > room.value:
            yield f"does not fit {device.name}: {what} take {needed:,} bytes, its {where} has {room.value:,.0f}"


def _joint(module: nn.Module, inputs: tuple[Any, ...], mode: str) -> Graph:
    """Capture forward and backward in training mode, and put the module back into its own."""
    learning, names = learner(module, mode)
    with undisturbed(learning, keep_mode=True):
        return capture(learning.train(), *inputs, trainable=names)


def _with_inputs(graph: Graph, eager_bytes: int | None) -> int | None:
    """PyTorch's caller keeps the inputs; a plan counts them only while they are read."""
    held = {graph.tensors[index].storage for index in graph.inputs}
    return None if eager_bytes is None else eager_bytes + sum(graph.storages[number].bytes for number in held)


def _dtype(graph: Graph) -> str:
    """Return the type of most activations by elements."""
    totals: dict[str, int] = {}
    for role in ("activation", "input"):
        for _, tensor in graph.tensors_of(role):
            totals[tensor.dtype] = totals.get(tensor.dtype, 0) + tensor.elements
    return max(totals, key=lambda name: totals[name], default="float32")


def example_input(shape: Sequence[int], dtype: str = "float32") -> torch.Tensor:
    """Return an input without data.

    Raises:
        NetwrightError: torch knows no such type.
    """
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise NetwrightError(f"{dtype!r} is no type of numbers; for example float32, float16, int8, int64.")
    try:
        return torch.empty(*shape, dtype=kind, device="meta")
    except RuntimeError as error:
        raise NetwrightError(f"No tensor can have the shape {'x'.join(map(str, shape))}: it is too large.") from error
