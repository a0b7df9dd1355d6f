"""What would make a network cheaper, told by its own figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.cost.count import Counts
from netwright.cost.memory.inference import InferenceMemory
from netwright.cost.memory.training import TrainingMemory
from netwright.graph.graph import Graph, Op


@dataclass(frozen=True)
class Saving:
    """One change and what it would save: `saved` of `total`, in `unit`. What it does to accuracy is not known here."""

    what: str
    saved: float
    total: float
    unit: str

    @property
    def share(self) -> float:
        """The saved part of the total."""
        return self.saved / self.total if self.total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"what": self.what, "saved": self.saved, "total": self.total, "unit": self.unit, "share": self.share}


def savings_of(
    graph: Graph,
    counts: Counts,
    memory: InferenceMemory,
    moved: Sequence[int],
    training: TrainingMemory | None = None,
    *,
    eager_bytes: int | None = None,
    most: int = 3,
) -> tuple[Saving, ...]:
    """Return the savings with the largest shares, at most `most`, none under one percent."""
    found = [
        *_separable(graph, counts),
        *_fusion(graph, counts, moved),
        *_narrow(graph),
        *_plan(memory, eager_bytes),
        *_frozen_aware(training),
    ]
    found = [saving for saving in found if saving.share >= 0.01]
    return tuple(sorted(found, key=lambda saving: -saving.share)[:most])


def _separable(graph: Graph, counts: Counts) -> Iterator[Saving]:
    """The dearest dense convolutions as depthwise and pointwise ones (MobileNets, Howard et al. 2017, Section 3.1)."""
    saved: dict[str, int] = {}
    for op, work in zip(graph.ops, counts.works, strict=True):
        if op.kind == "aten.convolution" and op.stage == "forward" and work is not None and op.arguments["groups"] == 1:
            outputs, inputs, *window = graph.tensors[op.inputs[1]].shape
            area = 1
            for side in window:
                area *= side
            if area > 1 and inputs > 3 and not op.arguments["transposed"]:
                saved[op.path] = saved.get(op.path, 0) + int(work.macs * (1 - 1 / outputs - 1 / area))
    if saved:
        names = sorted(saved, key=lambda name: -saved[name])[:8]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        what = f"make the dense convolutions {shown} depthwise-separable"
        yield Saving(what, sum(saved[name] for name in names), counts.macs, "MACs")


def _fusion(graph: Graph, counts: Counts, moved: Sequence[int]) -> Iterator[Saving]:
    """Normalization and elementwise work joined to the operation before it neither writes nor reads in between."""
    producers = {output: op for op in graph.ops for output in op.outputs}
    saved = 0
    for op, work in zip(graph.ops, counts.works, strict=True):
        if op.stage == "forward" and work and work.group in ("elementwise", "norm") and _maps_elements(graph, op):
            source = producers.get(op.inputs[0])
            if source is not None and not source.view:
                saved += 2 * graph.storage(op.inputs[0]).bytes
    total = sum(moved)
    if saved:
        what = "fuse normalization and activations into the operation before them (torch.compile, a deployed runtime)"
        yield Saving(what, min(saved, total), total, "bytes moved")


def _maps_elements(graph: Graph, op: Op) -> bool:
    return bool(op.inputs and op.outputs) and graph.tensors[op.inputs[0]].shape == graph.tensors[op.outputs[0]].shape


def _narrow(graph: Graph) -> Iterator[Saving]:
    """Weights in int8 instead of float32."""
    weights = [storage for storage in graph.storages if storage.role == "parameter"]
    total = sum(storage.bytes for storage in weights)
    wide = {tensor.storage for _, tensor in graph.tensors_of("parameter") if tensor.dtype == "float32"}
    saved = sum(graph.storages[number].bytes * 3 // 4 for number in wide)
    if saved:
        yield Saving("keep the weights as int8", saved, total, "bytes of weights")


def _plan(memory: InferenceMemory, eager_bytes: int | None) -> Iterator[Saving]:
    """What a planning runtime saves over PyTorch's eager mode, and the best order over the given one."""
    least = memory.peak_bytes if memory.lower_bound_bytes is None else memory.lower_bound_bytes
    if least < memory.peak_bytes:
        what = "run the operations in the order of the least peak"
        yield Saving(what, memory.peak_bytes - least, memory.peak_bytes, "bytes of peak memory")
    elif eager_bytes:
        what = "plan the memory: fold BatchNorm, work in place, free after the last use"
        yield Saving(what, eager_bytes - memory.peak_bytes, eager_bytes, "bytes of PyTorch's peak memory")


def _frozen_aware(training: TrainingMemory | None) -> Iterator[Saving]:
    if training is not None:
        saved = training.saved_bytes - training.saved_bytes_frozen_aware
        what = f"save for backward only what {training.mode} training needs"
        yield Saving(what, saved, training.saved_bytes, "saved bytes")
