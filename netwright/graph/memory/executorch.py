"""A captured graph as ExecuTorch's compiler lowers it, and the way its memory plan shares memory.

In its programs every operation returns new memory: what torch does in place is copied, views other than reshapes are copied,
weights are transposed at run time, and compound activations and attention fall into parts. Written from the programs that
`to_edge(...).to_executorch()` of ExecuTorch 1.5 made of ten networks; `benchmarks/cost_memory.py` holds it against their plans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netwright.graph.dtypes import FLOATS, bytes_of
from netwright.graph.graph import Graph, Op, Storage, Tensor
from netwright.graph.memory.lifetimes import Buffer
from netwright.graph.memory.plan import overlapping

_RESHAPES = {
    "view",
    "_unsafe_view",
    "reshape",
    "detach",
    "_reshape_alias",
    "lift_fresh",
    "view_as",
    "unsafe_chunk",
}

# Parts of compound operations on x, each of the size of the result: "name: what it reads".
_PARTS = {
    "hardswish": ("a: x", "b: a", "c: b", "d: x c", "out: d"),
    "hardsigmoid": ("a: x", "b: a", "c: b", "out: c"),
    "silu": ("a: x", "out: x a"),
    "roll": ("a: x", "out: a"),  # one index_select a dimension; it rolls two in all networks looked at
}


# The same as integers: the addition of 3 is a matter of the zero point.
_INTEGER_PARTS = _PARTS | {"hardswish": ("a: x", "out: x a"), "hardsigmoid": ("out: x",)}


def lowered_by_executorch(graph: Graph, *, integer: bool = False) -> Graph:
    """Return the lowered graph: functional, with the copies and the temporary results that ExecuTorch's programs have.

    `integer`: every floating-point result is int8, between a quantization of the inputs and a dequantization of the outputs, as
    its Cortex-M backend makes it from a network quantized with PT2E.
    """
    lowering = _Lowering(graph, integer)
    for op in graph.ops:
        lowering.add(op)
    return lowering.result()


def executorch_overwritable(graph: Graph, op: Op) -> tuple[int, ...]:
    """Return the inputs that an operation's result lies in from the start, because integer kernels clamp what they write."""
    name = op.kind.partition(".")[2].removesuffix("_")
    return op.inputs[:1] if name in ("relu", "relu6", "hardtanh", "hardsigmoid") else ()


class _Lowering:
    """Rewrites operation by operation. `now` tells where a tensor of the captured graph lies in the new one."""

    def __init__(self, graph: Graph, integer: bool) -> None:
        self.graph, self.integer = graph, integer
        self.tensors: list[Tensor] = []
        self.storages: list[Storage] = []
        self.ops: list[Op] = []
        self.version = [0] * len(graph.storages)
        self.now: dict[int, tuple[int, int]] = {}
        self.whole: dict[int, int] = {}
        self.given: dict[int, int] = {}
        self.op = Op("", (), (), {})
        self.inputs = [self._given(graph.tensors[t]) for t in graph.inputs]
        for t, new in zip(graph.inputs, self.inputs, strict=True):
            quantized = integer and graph.tensors[t].dtype in FLOATS
            self._bind(t, self._emit("edge.quantize", [new], graph.tensors[t]) if quantized else new)

    def add(self, op: Op) -> None:
        """Lower one operation."""
        self.op = op
        name = op.kind.partition(".")[2].removesuffix("_")
        if op.view:
            self._view(name)
        elif name in _PARTS and op.kind.startswith("aten."):
            self._written(self._parts((_INTEGER_PARTS if self.integer else _PARTS)[name]))
        elif name in _ATTENTION:
            self._bind(op.outputs[0], _ATTENTION[name](self, [self._at(t) for t in op.inputs]))
        else:
            sources = [self._at(t) for t in op.inputs]
            if op.writes:
                self._written(
                    self._emit(op.kind, sources, self.graph.tensors[op.outputs[0] if op.outputs else op.inputs[0]])
                )
                return
            made = self._emit_all(op.kind, sources, [self.graph.tensors[t] for t in op.outputs])
            for t, new in zip(op.outputs, made, strict=True):
                self._bind(t, new)

    def result(self) -> Graph:
        """Return the new graph, with the inputs and outputs of the captured one."""
        outputs = [self._at(t) for t in self.graph.outputs]
        if self.integer:
            self.integer = False
            outputs = [self._emit("edge.dequantize", [t], replace(self.tensors[t], dtype="float32")) for t in outputs]
        return Graph(
            inputs=tuple(self.inputs),
            outputs=tuple(outputs),
            tensors=tuple(self.tensors),
            storages=tuple(self.storages),
            ops=tuple(self.ops),
            source=self.graph.source,
            notes=self.graph.notes,
            own=self.graph.own,
        )

    def _view(self, name: str) -> None:
        op = self.op
        source, out = self._at(op.inputs[0]), [self.graph.tensors[t] for t in op.outputs]
        if name in _RESHAPES or (name == "slice" and out[0].shape == self.tensors[source].shape):
            for t, tensor in zip(op.outputs, out, strict=True):
                self._bind(t, self._alias(source, tensor))
            return
        if name == "unbind":  # one slice each, and then its dimension of one dropped
            slices = [self._emit("edge.slice_copy", [source], tensor) for tensor in out]
            made = [self._emit("edge.squeeze_copy", [s], tensor) for s, tensor in zip(slices, out, strict=True)]
        else:
            made = self._emit_all(f"edge.{name}_copy", [source], out)
        for t, new in zip(op.outputs, made, strict=True):
            self._bind(t, new)

    def _parts(self, parts: Sequence[str]) -> int:
        out = self.graph.tensors[self.op.outputs[0]]
        named = {"x": self._at(self.op.inputs[0])}
        for part in parts:
            name, _, reads = part.partition(": ")
            named[name] = self._emit(self.op.kind, [named[read] for read in reads.split()], out)
        return named["out"]

    def _written(self, new: int) -> None:
        """Let a result stand for the output, and for the memory that torch wrote in place."""
        for storage in self.op.writes:
            self.version[storage] += 1
            self.whole[storage] = new
        for t in self.op.outputs:
            self._bind(t, new)

    def _bind(self, old: int, new: int) -> None:
        storage = self.graph.tensors[old].storage
        self.now[old] = (self.version[storage], new)
        self.whole.setdefault(storage, new)

    def _at(self, old: int) -> int:
        """Return where a tensor lies now; after a write in place, in what was written."""
        tensor = self.graph.tensors[old]
        version, new = self.now.get(old, (-1, -1))
        if version != self.version[tensor.storage]:
            base = self.whole.get(tensor.storage)
            new = self._given(tensor) if base is None else self._alias(base, tensor)
            self._bind(old, new)
        return new

    def _given(self, tensor: Tensor) -> int:
        if tensor.storage not in self.given:
            self.given[tensor.storage] = len(self.storages)
            self.storages.append(self.graph.storages[tensor.storage])
        self.tensors.append(Tensor(tensor.shape, tensor.dtype, self.given[tensor.storage]))
        return len(self.tensors) - 1

    def _alias(self, base: int, tensor: Tensor) -> int:
        self.tensors.append(Tensor(tensor.shape, tensor.dtype, self.tensors[base].storage))
        return len(self.tensors) - 1

    def _emit(self, kind: str, sources: Sequence[int], out: Tensor) -> int:
        return self._emit_all(kind, sources, [out])[0]

    def _emit_all(self, kind: str, sources: Sequence[int], outs: Sequence[Tensor]) -> list[int]:
        made = []
        for out in outs:
            made.append(len(self.tensors))
            dtype = "int8" if self.integer and out.dtype in FLOATS else out.dtype
            self.tensors.append(Tensor(out.shape, dtype, len(self.storages)))
            size = bytes_of(out.shape, dtype)
            self.storages.append(Storage(size, "activation", self.op.path, len(self.ops)))
        self.ops.append(Op(kind, tuple(sources), tuple(made), {}, self.op.path, self.op.layer, self.op.stage))
        return made


def _attention(lowering: _Lowering, inputs: Sequence[int]) -> int:
    """Emit the parts of a fused attention: scaled, expanded, multiplied, a softmax that minds rows of -inf, multiplied.

    Inputs q_BHND, k_BHMD, v_BHME and perhaps a mask.
    """
    emit, shapes = lowering._emit, [lowering.tensors[index].shape for index in inputs]
    dtype = lowering.tensors[inputs[0]].dtype

    def like(shape: tuple[int, ...], kind: str = dtype) -> Tensor:
        return Tensor(shape, kind, 0)

    turned = (*shapes[1][:-2], shapes[1][-1], shapes[1][-2])
    scores = (*shapes[0][:-1], shapes[1][-2])
    q = emit("edge.mul", [inputs[0]], like(shapes[0]))
    k = emit("edge.permute_copy", [inputs[1]], like(turned))
    k = emit("edge.mul", [k], like(turned))
    q = emit("edge.expand_copy", [q], like(shapes[0]))
    k = emit("edge.expand_copy", [k], like(turned))
    s = emit("edge.bmm", [q, k], like(scores))
    if len(inputs) > 3:
        s = emit("edge.add", [s, inputs[3]], like(scores))
    p = emit("edge._softmax", [s], like(scores))
    empty = emit("edge.eq", [s], like(scores, "bool"))
    empty = emit("edge.logical_not", [empty], like(scores, "bool"))
    rows = emit("edge.any", [empty], like((*scores[:-1], 1), "bool"))
    rows = emit("edge.logical_not", [rows], like((*scores[:-1], 1), "bool"))
    zeros = emit("edge.full_like", [p], like(scores))
    p = emit("edge.where", [rows, zeros, p], like(scores))
    p = emit("edge.expand_copy", [p], like(scores))
    v = emit("edge.expand_copy", [inputs[2]], like(shapes[2]))
    out = (*shapes[0][:-1], shapes[2][-1])
    y = emit("edge.bmm", [p, v], like(out))
    for kind in ("permute_copy", "clone", "permute_copy"):
        y = emit(f"edge.{kind}", [y], like(out))
    return y


_ATTENTION: dict[str, Callable[[_Lowering, Sequence[int]], int]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_attention_math": _attention,
}


@dataclass
class _Shared:
    """A block that buffers take turns in, side by side where there is room."""

    bytes: int
    placed: list[tuple[int, int, Buffer]]

    def occupied(self, buffer: Buffer) -> bool:
        """Say whether anything lives in the block at the same time."""
        return any(overlapping(other, buffer) for _, _, other in self.placed)

    def top(self, buffer: Buffer) -> int:
        """Return the end of what lives in the block at the same time."""
        return max((start + size for start, size, other in self.placed if overlapping(other, buffer)), default=0)


def executorch_plan_bytes(buffers: Sequence[Buffer], *, alignment: int = 16) -> int:
    """Return the bytes of ExecuTorch's greedy plan, the sum of its shared objects.

    The largest buffer first: each goes into the first object that is free while it lives, else on top of what lives in
    the first object with room left above, else into a new object of its own size.
    """
    objects: list[_Shared] = []
    for buffer in sorted(buffers, key=lambda b: (-b.bytes, -b.first)):
        size = -(-buffer.bytes // alignment) * alignment
        home = next((shared for shared in objects if not shared.occupied(buffer)), None)
        if home is None:
            home = next((shared for shared in objects if shared.top(buffer) + size <= shared.bytes), None)
        if home is None:
            home = _Shared(size, [])
            objects.append(home)
        home.placed.append((home.top(buffer), size, buffer))
    return sum(shared.bytes for shared in objects)
