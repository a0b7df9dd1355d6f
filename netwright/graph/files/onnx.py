"""Read an .onnx file as a `Graph`; shapes come from the `onnx` package's inference.

An operation of kind "onnx.Conv" (with its domain where that is not ONNX's own: "onnx.com.microsoft.FusedMatMul") holds all
attributes by name, those left out with the default of the standard, and under "inputs" its operands in order, None for one
that is left out. Reshaping shares the storage of what it reshapes. Constants are parameters where they are weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnx.numpy_helper
from google.protobuf.message import DecodeError

from netwright.core.errors import NetwrightError
from netwright.graph.dtypes import bytes_of
from netwright.graph.files.onnx_shapes import Kind, infer, kind_of
from netwright.graph.graph import Graph, Op, Ref, Role, Storage, Tensor
from netwright.graph.operations.table import traits_of

LARGEST = 1 << 40  # bytes of one tensor; more is an attack or a broken file
_INTEGERS = {"bool", "int32", "int64", "uint32", "uint64", "string"}
# Operands that say how to compute, by operator and place; -1 stands for all of them.
_SETTINGS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "Clip": (1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "OneHot": (1, 2),
    "Range": (-1,),
    "Where": (1, 2),
}
# A single number that only meets these was written in the code, and not learned; a few learned ones are taken for that.
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sqrt", "Cast", "Reshape", "Expand"}
# Where a recurrent layer begins; and what hands it on unchanged from a constant.
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
_MOVES = {
    "Cast",
    "Concat",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}
_STATISTICS = {"BatchNormalization": (3, 4)}
# Integers that are weights or biases all the same.
_INTEGER_WEIGHTS = {
    "DequantizeLinear": (0,),
    "QLinearConv": (3, 8),
    "ConvInteger": (1,),
    "MatMulInteger": (1,),
    "QGemm": (6,),
}


def read_onnx(
    path: str | Path, *, sizes: Mapping[str, int] | None = None, shapes: Sequence[Sequence[int]] = ()
) -> Graph:
    """Return the operations of an .onnx file.

    `sizes` gives names of free dimensions their size, `shapes` the inputs their shapes, in order; a free first dimension
    of an input is 1 where nothing is said.

    Raises:
        NetwrightError: the file cannot be read, is damaged, or leaves shapes open.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise NetwrightError(f"{path} is not a file. Give the path of an .onnx file.")
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (DecodeError, ValueError) as error:
        raise NetwrightError(
            f"{path} is not an ONNX model, or is damaged: {_short(error)}. Fetch or export it again."
        ) from error
    return graph_of(model, str(path), sizes=sizes, shapes=shapes)


def graph_of(
    model: onnx.ModelProto,
    where: str = "The model",
    *,
    sizes: Mapping[str, int] | None = None,
    shapes: Sequence[Sequence[int]] = (),
) -> Graph:
    """Return the operations of an ONNX model in memory; `where` names it in errors.

    Raises:
        NetwrightError: the model says what cannot be, or leaves shapes open.
    """
    if not model.graph.node:
        raise NetwrightError(f"{where} holds no operations. Fetch or export it again.")
    model, kinds, notes = infer(model, where, dict(sizes or {}), shapes)
    return _Reading(model, kinds, where, notes).graph()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class _Reading:
    """One model: its tensors by name, and what has been made of them so far."""

    def __init__(self, model: onnx.ModelProto, kinds: Mapping[str, Kind], where: str, notes: list[str]):
        self.nodes, self.main, self.where, self.notes = model.graph.node, model.graph, where, notes
        self.versions = {entry.domain or "": entry.version for entry in model.opset_import}
        self.kinds = kinds
        self.index: dict[str, int] = {}
        self.tensors: list[Tensor] = []
        self.storages: list[Storage] = []
        self.uses: dict[str, list[tuple[str, int]]] = {}
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for node in self.nodes:
            for place, name in enumerate(node.input):
                self.uses.setdefault(name, []).append((node.op_type, place))
                self.readers.setdefault(name, []).append((node, place))

    def graph(self) -> Graph:
        constants = {tensor.name for tensor in self.main.initializer}
        constants |= {tensor.values.name for tensor in self.main.sparse_initializer}
        inputs = [value.name for value in self.main.input if value.name not in constants]
        for name in inputs:
            self.enter(name, "input")
        given = [(tensor.name, kind_of(tensor)) for tensor in self.main.initializer]
        given += [(one.values.name, kind_of(one.values, tuple(one.dims))) for one in self.main.sparse_initializer]
        for name, kind in given:
            self.enter(name, self.role_of(name, kind), kind)
        ops = tuple(self.operations())
        missing = [value.name for value in self.main.output if value.name not in self.index]
        if missing:
            raise NetwrightError(f"{self.where} is damaged: nothing makes its output {missing[0]!r}. Export it again.")
        return Graph(
            tuple(self.tensors),
            tuple(self.storages),
            ops,
            tuple(self.index[name] for name in inputs),
            tuple(self.index[value.name] for value in self.main.output),
            "onnx",
            notes=tuple(self.notes),
        )

    def role_of(self, name: str, kind: Kind) -> Role:
        uses = self.uses.get(name, [])
        if uses and all(place in _STATISTICS.get(operator, ()) for operator, place in uses):
            return "buffer"
        if kind.dtype in _INTEGERS:
            weights = any(place in _INTEGER_WEIGHTS.get(operator, ()) for operator, place in uses)
            return "parameter" if weights else "constant"
        settings = (_SETTINGS.get(operator, ()) for operator, _ in uses)
        places = zip(uses, settings, strict=True)
        if self.is_beginning(name):
            return "constant"
        if not kind.shape or (prod(kind.shape) == 1 and {operator for operator, _ in uses} <= _ARITHMETIC):
            return "constant"
        if uses and all(place in known or -1 in known for (_, place), known in places):
            return "constant"
        return "parameter"

    def is_beginning(self, name: str) -> bool:
        """Say whether a constant is the initial state of recurrent layers and nothing else; one that was learned is not 0."""
        ends, todo, seen = [], [name], {name}
        while todo:
            for node, place in self.readers.get(todo.pop(), []):
                if node.op_type not in _MOVES:
                    ends.append(place in _STATES.get(node.op_type, ()))
                todo += [made for made in node.output if node.op_type in _MOVES and made not in seen]
                seen.update(node.output)
        return bool(ends) and all(ends) and self.is_zero(name)

    def is_zero(self, name: str) -> bool:
        """Say whether a constant is all zeros; of one that lies in another file nothing else is known."""
        for tensor in self.main.initializer:
            if tensor.name == name:
                return bool(tensor.external_data) or _zeros(tensor)
        made = (node for node in self.nodes if node.op_type == "Constant" and name in node.output)
        values = (attribute.t for node in made for attribute in node.attribute if attribute.name == "value")
        return any(map(_zeros, values))

    def enter(self, name: str, role: Role, kind: Kind | None = None) -> int:
        """Enter a tensor on a storage of its own."""
        if name in self.index:
            raise NetwrightError(f"{self.where} is damaged: it makes {name!r} twice. Export it again.")
        kind = kind or self.kinds.get(name) or Kind((), "unknown")
        size = bytes_of(kind.shape, kind.dtype)
        if size > LARGEST or any(side < 0 for side in kind.shape):
            raise NetwrightError(f"{self.where} is damaged: {name!r} is of shape {kind.shape}. Export it again.")
        self.index[name] = len(self.tensors)
        self.tensors.append(Tensor(kind.shape, kind.dtype, len(self.storages)))
        self.storages.append(Storage(size, role, name))
        return self.index[name]

    def operations(self) -> Iterator[Op]:
        unknown: list[str] = []
        for place, node in enumerate(self.nodes):
            lost = [name for name in node.input if name and name not in self.index]
            if lost:
                raise NetwrightError(
                    f"{self.where} is damaged: operation {place}, {node.op_type}, reads {lost[0]!r}, which nothing has "
                    "made yet. Export it again."
                )
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                for name in node.output:
                    kind = self.kinds.get(name) or Kind((), "unknown")
                    self.enter(name, self.role_of(name, kind), kind)
                continue
            view = traits_of(f"onnx.{node.op_type}").view and self.share(node)
            outputs = tuple(
                self.index[name] if view and not number else self.enter(name, "activation")
                for number, name in enumerate(node.output)
                if name
            )
            unknown += [name for name in node.output if name and name not in self.kinds]
            yield self.operation(node, outputs, view)
        if unknown:
            self.notes.append(
                f"the shapes of {len(unknown)} tensors could not be inferred, {unknown[0]!r} first: they count as one element"
            )

    def operation(self, node: onnx.NodeProto, outputs: tuple[int, ...], view: bool) -> Op:
        inputs = [Ref(self.index[name]) if name else None for name in node.input]
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        path, layer = _whereabouts(node)
        return Op(
            f"onnx.{domain}{node.op_type}",
            tuple(ref.tensor for ref in inputs if ref),
            outputs,
            {"inputs": inputs, **self.attributes(node)},
            path,
            layer,
            view=view,
        )

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        values: dict[str, Any] = {}
        try:
            schema = onnx.defs.get_schema(node.op_type, self.versions.get(domain, 1), domain)
            for name, attribute in schema.attributes.items():
                if attribute.default_value.type:
                    values[name] = _plain(attribute.default_value)
        except onnx.defs.SchemaError:
            pass  # another party's operator: only what the file says of it
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                self.notes.append(f"{node.op_type} {node.name!r} runs a graph of its own, which is not read")
            values[attribute.name] = _plain(attribute)
        return values

    def share(self, node: onnx.NodeProto) -> bool:
        """Enter the first output on the storage of the first input, where it holds the same bytes."""
        name = node.output[0] if node.output else ""
        made = self.kinds.get(name)
        if not name or made is None or not node.input or node.input[0] not in self.index or name in self.index:
            return False
        source = self.tensors[self.index[node.input[0]]]
        target = Tensor(made.shape, made.dtype, source.storage)
        if target.dtype != source.dtype or target.elements != source.elements:
            return False
        self.index[name] = len(self.tensors)
        self.tensors.append(target)
        return True


def _zeros(tensor: onnx.TensorProto) -> bool:
    try:
        return not onnx.numpy_helper.to_array(tensor).any()
    except Exception:  # noqa: BLE001 - a damaged tensor may raise anything; it is no initial state that anyone wrote
        return False


def _plain(attribute: onnx.AttributeProto) -> Any:
    """Return an attribute's value; tensors and graphs as a word, since they may be large."""
    kinds = onnx.AttributeProto
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == kinds.STRINGS:
        return [text.decode("utf-8", "replace") for text in attribute.strings]
    if attribute.type in (kinds.INT, kinds.FLOAT):
        return onnx.helper.get_attribute_value(attribute)
    if attribute.type in (kinds.INTS, kinds.FLOATS):
        return list(onnx.helper.get_attribute_value(attribute))
    return kinds.AttributeType.Name(attribute.type).lower()


def _whereabouts(node: onnx.NodeProto) -> tuple[str, str]:
    """Return module path and class, which torch's exporter writes down; else what the node's name tells."""
    known = {entry.key: entry.value for entry in node.metadata_props if entry.key.startswith("pkg.torch.onnx.")}
    scopes = re.findall(r"'([^']*)'", known.get("pkg.torch.onnx.name_scopes", ""))
    classes = re.findall(r"'([^']*)'", known.get("pkg.torch.onnx.class_hierarchy", ""))
    if len(scopes) > 1:
        return scopes[-2], classes[-2].rpartition(".")[2] if len(classes) > 1 else ""
    return ".".join(node.name.strip("/").split("/")[:-1]), ""
