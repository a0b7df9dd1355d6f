"""Work out the shape arithmetic of an ONNX model: small integers that depend on shapes only, which inference may miss."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from netwright.graph.operations.table import traits_of

_SMALL = 256  # elements; shapes, pads and slices are shorter
# Operations that shapes are computed with, which make nothing large, or whose operands say how much.
_KEEP_SMALL = frozenset(
    [
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Floor",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Range",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Size",
        "Shape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)


def fold(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Replace what can be computed from constants and known shapes by constants, in place; say whether anything was.

    `shapes`: of the tensors whose shape is known.
    """
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if _few(tuple(tensor.dims))}
    kept, folded = [], []
    for node in graph.node:
        made = _computed(node, values, shapes, model)
        if made is None:
            kept.append(node)
            continue
        values.update(made)
        folded += [numpy_helper.from_array(array, name) for name, array in made.items()]
    if not folded:
        return False
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(folded)
    return True


def _few(shape: tuple[int, ...]) -> bool:
    return int(np.prod(shape, dtype=object)) <= _SMALL


def _computed(
    node: onnx.NodeProto,
    values: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    model: onnx.ModelProto,
) -> dict[str, NDArray[Any]] | None:
    """Return the outputs of a node by name, or None if they depend on more than shapes or are not small."""
    if node.domain not in ("", "ai.onnx") or not (node.op_type in _KEEP_SMALL or _makes_little(node, shapes)):
        return None
    if node.op_type in ("Shape", "Size"):
        shape = shapes.get(node.input[0]) if node.input else None
        if shape is None:
            return None
        given = {node.input[0]: np.broadcast_to(np.zeros((), np.float32), shape)}
    elif any(name and name not in values for name in node.input):
        return None
    else:
        given = {name: values[name] for name in node.input if name}
    if not _stays_small(node, given):
        return None
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_empty_tensor_value_info(name) for name in given],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            one = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
            made = ReferenceEvaluator(one).run(None, given)
    except Exception:  # noqa: BLE001 - a broken model may raise anything; what it says stays unknown, and is noted
        return None
    arrays = [np.asarray(value) for value in made]  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues]
    if any(array.size > _SMALL or array.dtype.kind not in "biuf" for array in arrays):
        return None
    return dict(zip(node.output, arrays, strict=True))


def _makes_little(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Say whether an operation computes few values, the same at every run."""
    bodies = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if traits_of(f"onnx.{node.op_type}").random or any(attribute.type in bodies for attribute in node.attribute):
        return False
    return all(name in shapes and _few(shapes[name]) for name in node.output if name)


def _stays_small(node: onnx.NodeProto, given: Mapping[str, NDArray[Any]]) -> bool:
    """Say whether an operation that could make something large from little does not."""
    operands = [given[name] for name in node.input if name]
    if node.op_type in ("ConstantOfShape", "Expand"):
        sides = operands[-1] if operands else np.zeros(0)
        return int(np.prod(sides.astype(object), dtype=object)) <= _SMALL if (sides >= 0).all() else False
    if node.op_type == "Range":
        start, limit, delta = (float(value) for value in operands[:3]) if len(operands) == 3 else (0.0, np.inf, 1.0)
        return bool(delta and (limit - start) / delta <= _SMALL)
    if node.op_type in ("Shape", "Size", "Constant"):
        return True
    # Broadcasting multiplies sizes at most.
    return int(np.prod([max(1, array.size) for array in operands], dtype=object)) <= _SMALL**2
