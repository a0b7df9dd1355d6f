"""What runs, in which orders it may run, and which memory each step needs: the data flow of a `Graph`.

Liveness, the search for an order and the planning of offsets read this, whatever the graph was read from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from netwright.graph.graph import Graph, Op
from netwright.graph.memory.elementwise import overwritable
from netwright.graph.memory.fold import constant_operations, folded_batch_norms, unused_operations


@dataclass(frozen=True, slots=True)
class FlowValue:
    """Memory that one step makes and others read.

    `maker`: the step that makes it, -1 for an input of the network. `users`: the steps that touch it afterwards, in the
    captured order. `kept`: an output of the network, which outlives the run. `storage`: the storage it stands for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    maker: int
    users: tuple[int, ...]
    kept: bool
    storage: int


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One operation that runs: its index in `Graph.ops`, the steps it must follow, and indices of values.

    `made`: values that it makes. `touched`: values that it reads or changes. `overwritable`: those of them whose memory
    the first value it makes may take over, if nobody needs them afterwards.
    """

    op: int
    after: tuple[int, ...]
    made: tuple[int, ...]
    touched: tuple[int, ...]
    overwritable: tuple[int, ...] = ()


@dataclass(frozen=True)
class Flow:
    """Steps in the captured order, and the values between them."""

    steps: tuple[FlowStep, ...]
    values: tuple[FlowValue, ...]


def flow(
    graph: Graph,
    *,
    sizes: Sequence[int] | None = None,
    compiled: bool = True,
    overwrites: Callable[[Graph, Op], Collection[int]] = overwritable,
) -> Flow:
    """Return the data flow of a graph; views are no steps.

    `compiled` leaves out what a compiler would: BatchNorm that folds into weights, operations that depend on no input, and
    operations and results that nobody reads. `sizes`: bytes of each storage, those of the graph if None. `overwrites`:
    the input tensors of an operation that its result may be written over.
    """
    sizes = sizes or [storage.bytes for storage in graph.storages]
    roots, left_out = list(range(len(graph.storages))), set[int]()
    constant: frozenset[int] = frozenset()
    if compiled:
        folds = folded_batch_norms(graph)
        for index, maker in folds.items():
            out = graph.tensors[graph.ops[index].outputs[0]].storage
            roots[out] = roots[graph.tensors[graph.ops[maker].outputs[0]].storage]
        constant_ops, constant = constant_operations(graph)
        left_out |= {*folds, *constant_ops, *unused_operations(graph)}
    for index, op in enumerate(graph.ops):
        if op.view:
            left_out.add(index)
            for t in op.outputs if op.inputs else ():
                out, source = graph.tensors[t].storage, graph.tensors[op.inputs[0]].storage
                if out != source:
                    roots[out] = roots[source]
    return _Builder(graph, sizes, roots, constant, compiled).build(left_out, overwrites)


class _Builder:
    """Collects makers, users and dependencies in one walk over the operations."""

    def __init__(
        self, graph: Graph, sizes: Sequence[int], roots: list[int], constant: Collection[int], compiled: bool
    ) -> None:
        self.graph, self.sizes, self.compiled = graph, sizes, compiled
        self.roots = [_root(roots, index) for index in range(len(roots))]
        self.counts = [
            storage.role in ("activation", "input") and index not in constant
            for index, storage in enumerate(graph.storages)
        ]
        self.maker: dict[int, int] = {}
        self.users: dict[int, list[int]] = {}
        self.writer: dict[int, int] = {}

    def build(self, left_out: Collection[int], overwrites: Callable[[Graph, Op], Collection[int]]) -> Flow:
        kept_ops = [index for index in range(len(self.graph.ops)) if index not in left_out]
        steps = [self._step(number, index) for number, index in enumerate(kept_ops)]
        outputs = {self.roots[self.graph.tensors[index].storage] for index in self.graph.outputs}
        shown = self._shown()
        number: dict[int, int] = {}
        values: list[FlowValue] = []
        for root in sorted(self.maker, key=lambda root: (self.maker[root], root)):
            maker, users = self.maker[root], tuple(self.users.get(root, ()))
            if (
                not users
                and root not in outputs
                and (maker < 0 or (self.compiled and self._others_read(maker, root, steps, outputs)))
            ):
                continue
            number[root] = len(values)
            tensor = self.graph.tensors[shown[root]]
            name = self.graph.storages[root].name
            values.append(
                FlowValue(name, tensor.shape, tensor.dtype, self.sizes[root], maker, users, root in outputs, root)
            )
        return Flow(tuple(self._finish(step, number, values, overwrites) for step in steps), tuple(values))

    def _step(self, number: int, index: int) -> FlowStep:
        op = self.graph.ops[index]
        written = self._values(op.writes)
        read = self._values(self.graph.tensors[t].storage for t in op.inputs) | written
        outs = self._values(self.graph.tensors[t].storage for t in op.outputs)
        after: set[int] = set()
        for root in sorted(read | outs):
            if root not in self.maker:
                given = self.graph.storages[root].role == "input" or root in read - outs
                self.maker[root] = -1 if given else number
                if not given:
                    self.writer[root] = number
                    continue
            if root in self.writer:
                after.add(self.writer[root])
            if root in written or root not in read:
                after |= set(self.users.get(root, ()))
                self.writer[root] = number
            self.users.setdefault(root, []).append(number)
        made = tuple(root for root in sorted(outs) if self.maker.get(root) == number)
        return FlowStep(index, tuple(sorted(after)), made, tuple(sorted(read)))

    def _finish(
        self,
        step: FlowStep,
        number: dict[int, int],
        values: list[FlowValue],
        overwrites: Callable[[Graph, Op], Collection[int]],
    ) -> FlowStep:
        made = tuple(number[root] for root in step.made if root in number)
        touched = tuple(number[root] for root in step.touched if root in number)
        over: list[int] = []
        op = self.graph.ops[step.op]
        for t in overwrites(self.graph, op) if made else ():
            root = self.roots[self.graph.tensors[t].storage]
            value = number.get(root)
            looks = {other for other in op.inputs if self.roots[self.graph.tensors[other].storage] == root}
            if value is None or value not in touched or value in over or values[value].kept or len(looks) > 1:
                continue  # read through two views, say x + x.T: writing one would change the other
            if values[value].bytes == values[made[0]].bytes:
                over.append(value)
        return FlowStep(step.op, step.after, made, touched, tuple(over))

    def _others_read(self, maker: int, root: int, steps: list[FlowStep], outputs: set[int]) -> bool:
        return any(other != root and (self.users.get(other) or other in outputs) for other in steps[maker].made)

    def _values(self, storages: Iterable[int]) -> set[int]:
        roots = {self.roots[storage] for storage in storages}
        return {root for root in roots if self.counts[root]}

    def _shown(self) -> dict[int, int]:
        """Return for each storage the first tensor that looks at it: the one that its maker returned."""
        shown: dict[int, int] = {}
        for index, tensor in enumerate(self.graph.tensors):
            shown.setdefault(tensor.storage, index)
        return shown


def _root(roots: list[int], index: int) -> int:
    while roots[index] != index:
        index = roots[index]
    return index
