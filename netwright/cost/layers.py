"""The cost of each module of a network, and of each with all its submodules, as a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from netwright.cost.count import Counts
from netwright.cost.speed.roofline import Roofline
from netwright.graph.graph import Graph


@dataclass(frozen=True)
class LayerCost:
    """What the forward operations of one module cost, without those of its submodules.

    Attributes:
        path: the module's name from the root, "" for the root itself.
        layer: the module's class.
        kinds: its operations, the most frequent first.
        output: shape of its last result.
        params: parameters that its operations are the first to read.
        macs, flops, bytes_moved: sums over its operations.
        bound: what limits it on the device, "compute" or a memory; None without a device.
        bound_ms: the least time that it needs on the device; None without a device.
        measured_ms: None where nothing was timed.
    """

    path: str
    layer: str
    kinds: tuple[str, ...]
    output: tuple[int, ...]
    params: int
    macs: int
    flops: int
    bytes_moved: int
    bound: str | None = None
    bound_ms: float | None = None
    measured_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": self.path,
            "layer": self.layer,
            "ops": list(self.kinds),
            "output": list(self.output),
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "bytes_moved": self.bytes_moved,
            "bound": self.bound,
            "bound_ms": self.bound_ms,
            "measured_ms": self.measured_ms,
        }


def layers_of(
    graph: Graph,
    counts: Counts,
    moved: Sequence[int],
    roofline: Roofline | None = None,
    seconds: Sequence[float] | None = None,
) -> tuple[LayerCost, ...]:
    """Return the cost of every module, in the order in which they first run. `seconds`: measured, of each operation."""
    groups: dict[str, list[int]] = {}
    for index, op in enumerate(graph.ops):
        if op.stage == "forward":
            groups.setdefault(op.path, []).append(index)
    own = Counter(params_by_layer(graph))
    made = []
    for path, indices in groups.items():
        ops = [graph.ops[index] for index in indices]
        works = [work for index in indices if (work := counts.works[index]) is not None]
        last = next((op for op in reversed(ops) if op.outputs), None)
        bound = roofline.together(indices) if roofline else None
        made.append(
            LayerCost(
                path,
                ops[0].layer,
                tuple(kind for kind, _ in Counter(op.kind for op in ops if not op.view).most_common()),
                graph.tensors[last.outputs[0]].shape if last else (),
                own.pop(path, 0),
                sum(work.macs for work in works),
                sum(work.flops for work in works),
                sum(moved[index] for index in indices),
                bound.bound if bound else None,
                bound.ms if bound else None,
                1e3 * sum(seconds[index] for index in indices) if seconds else None,
            )
        )
    made += [LayerCost(path, "", (), (), params, 0, 0, 0) for path, params in own.items()]
    return tuple(made)


def params_by_layer(graph: Graph) -> dict[str, int]:
    """Return the number of parameters of every module: those that its operations are the first to read.

    What nothing reads stays where its name puts it.
    """
    readers: dict[int, str] = {}
    for op in graph.ops:
        for index in op.inputs:
            readers.setdefault(graph.tensors[index].storage, op.path)
    totals: Counter[str] = Counter()
    for storage, count in graph.param_elements().items():
        totals[readers.get(storage, graph.storages[storage].name.rpartition(".")[0])] += count
    return dict(totals)


@dataclass
class Branch:
    """A module with the cost of its own operations and of all its submodules."""

    path: str
    layer: str = ""
    children: dict[str, Branch] = field(default_factory=dict)
    params: int = 0
    macs: int = 0
    flops: int = 0
    bytes_moved: int = 0
    bound_ms: float = 0.0
    measured_ms: float = 0.0

    def add(self, layer: LayerCost) -> None:
        """Add a layer's figures."""
        self.params += layer.params
        self.macs += layer.macs
        self.flops += layer.flops
        self.bytes_moved += layer.bytes_moved
        self.bound_ms += layer.bound_ms or 0.0
        self.measured_ms += layer.measured_ms or 0.0


def tree(layers: Iterable[LayerCost]) -> Branch:
    """Return the tree of the modules, by the names in their paths."""
    root = Branch("")
    for layer in layers:
        node = root
        node.add(layer)
        parts = layer.path.split(".") if layer.path else []
        for depth, part in enumerate(parts):
            node = node.children.setdefault(part, Branch(".".join(parts[: depth + 1])))
            node.add(layer)
        node.layer = node.layer or layer.layer
    return root
