"""Shapes and types of all tensors of an ONNX model: free dimensions fixed, functions inlined, the rest inferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx.inliner
import onnx.shape_inference

from netwright.core.errors import NetwrightError, unknown
from netwright.graph.files.onnx_folding import fold
from netwright.graph.files.onnx_runtime_shapes import runtime_shapes

_SMALL = 4096  # elements of a constant that may say shapes; larger ones are weights, which inference does not look at
_ROUNDS = 20  # of working out shapes that later shapes depend on
# Torch's names where they are not ONNX's in lower case.
_TYPES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
    "FLOAT8E8M0": "float8_e8m0fnu",
    "FLOAT4E2M1": "float4_e2m1",
}


# Operations of ONNX Runtime whose results have shape and type of a standard one's on these operands. Inference
# knows only the standard ones.
_UNCHANGED = """QLinearSigmoid QLinearLeakyRelu QLinearSoftmax Gelu FastGelu BiasGelu QuickGelu SkipLayerNormalization
    SkipSimplifiedLayerNormalization LayerNormalization GroupNorm RotaryEmbedding"""
_ALIKE: dict[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "FusedMatMul": ("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearConcat": ("Concat", tuple(range(2, 300, 3))),
    **dict.fromkeys(_UNCHANGED.split(), ("Identity", (0,))),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """Shape and type of a tensor."""

    shape: tuple[int, ...]
    dtype: str


def dtype_of(number: int) -> str:
    """Return torch's name of an ONNX type."""
    if number not in onnx.TensorProto.DataType.values():
        return "unknown"
    name = onnx.TensorProto.DataType.Name(number)  # pyright: ignore[reportArgumentType]
    return _TYPES.get(name, name.lower())


def kind_of(tensor: onnx.TensorProto, shape: tuple[int, ...] | None = None) -> Kind:
    """Return shape and type of a constant."""
    return Kind(tuple(tensor.dims) if shape is None else shape, dtype_of(tensor.data_type))


def infer(
    model: onnx.ModelProto, where: str, sizes: dict[str, int], shapes: Sequence[Sequence[int]] = ()
) -> tuple[onnx.ModelProto, dict[str, Kind], list[str]]:
    """Return the model without functions, the kinds of its tensors by name, and notes on what was assumed.

    Tensors whose shape depends on values are left out. `shapes`: of the inputs in order; none for what the model says.

    Raises:
        NetwrightError: an input leaves a size open that is not the batch, or has another shape, or the model is not valid.
    """
    _check_names(model, where)
    try:
        if model.functions:
            _check_functions(model, where)
            model = onnx.inliner.inline_local_functions(model)
        inputs, notes = _fixed_inputs(model, where, sizes, shapes)
        skeleton = _skeleton(model, inputs)
        before = dict(_kinds(skeleton.graph.value_info, sizes))
        _forget(skeleton)
        kinds = before | _known(onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph)
        if missing := _unknown(skeleton, kinds):
            kinds |= {name: Kind(*found) for name, found in runtime_shapes(skeleton, missing).items()}
        for _ in range(_ROUNDS):
            if not _unknown(skeleton, kinds) or not fold(skeleton, {name: kind.shape for name, kind in kinds.items()}):
                break
            kinds |= _known(onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph)
    except NetwrightError:
        raise
    except Exception as error:
        raise NetwrightError(
            f"{where} is not a valid ONNX model: {type(error).__name__}: {' '.join(str(error).split())[:200]}. Export it again."
        ) from error
    return model, kinds, notes


def _unknown(model: onnx.ModelProto, kinds: Mapping[str, Kind]) -> list[str]:
    return [name for node in model.graph.node for name in node.output if name and name not in kinds]


def _check_names(model: onnx.ModelProto, where: str) -> None:
    """Refuse text that is no text: protobuf hands it on as bytes."""
    graph = model.graph
    names: list[object] = [tensor.name for tensor in graph.initializer]
    names += [tensor.values.name for tensor in graph.sparse_initializer]
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        names += [node.op_type, node.domain, node.name, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
        names += [text for entry in node.metadata_props for text in (entry.key, entry.value)]
    for value in (*graph.input, *graph.output, *graph.value_info):
        names += [value.name, *(side.dim_param for side in value.type.tensor_type.shape.dim)]
    names += [entry.domain for entry in model.opset_import]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise NetwrightError(f"{where} is damaged: {wrong!r} is not a name. Fetch or export it again.")


def _check_functions(model: onnx.ModelProto, where: str) -> None:
    """Refuse functions that call themselves, which inlining would follow without end."""
    calls = {
        (function.domain, function.name): {(node.domain, node.op_type) for node in function.node}
        for function in model.functions
    }
    left = dict(calls)
    while left:
        leaves = [name for name, called in left.items() if not called & left.keys()]
        if not leaves:
            raise NetwrightError(f"{where} is damaged: its function {next(iter(left))[1]!r} calls itself.")
        for name in leaves:
            del left[name]


def _fixed_inputs(
    model: onnx.ModelProto, where: str, sizes: dict[str, int], shapes: Sequence[Sequence[int]] = ()
) -> tuple[list[onnx.ValueInfoProto], list[str]]:
    """Return the inputs with fixed shapes, and notes on what was assumed; `sizes` takes up the names of batches."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.input]
    inputs = [value for value in inputs if value.name not in constants]
    tensors = [value for value in inputs if value.type.WhichOneof("value") == "tensor_type"]
    names = {side.dim_param for value in tensors for side in value.type.tensor_type.shape.dim} - {""}
    wrong = [name for name in sizes if name not in names]
    if wrong:
        raise unknown(f"{where}: the free dimension", wrong[0], names)
    if shapes:
        _take_shapes(tensors, where, sizes, shapes)
    notes = []
    for value in tensors:
        if not value.type.tensor_type.HasField("shape"):
            raise NetwrightError(f"{where} does not say the shape of its input {value.name!r}. Export it with one.")
        for place, side in enumerate(value.type.tensor_type.shape.dim):
            if side.WhichOneof("value") == "dim_value" and side.dim_value > 0:
                continue
            name = side.dim_param
            if name not in sizes and place:
                raise NetwrightError(
                    f"{where} leaves dimension {place} of its input {value.name!r} free: {_written(value)}. Give the shape, "
                    f"--input {_example(value)} for instance{f' (or in Python {name}=... among sizes)' if name else ''}."
                )
            if name not in sizes:
                notes.append(f"dimension 0 of input {value.name!r} is free and was set to 1")
                sizes.update({name: 1} if name else {})
            side.dim_value = sizes.get(name, 1)
    return inputs, notes


def _take_shapes(
    inputs: Sequence[onnx.ValueInfoProto], where: str, sizes: dict[str, int], shapes: Sequence[Sequence[int]]
) -> None:
    """Give the inputs these shapes, in order, where the model leaves them free."""
    if len(shapes) != len(inputs):
        raise NetwrightError(
            f"{where} has {len(inputs)} input{'s' * (len(inputs) != 1)}, and {len(shapes)} shapes were given. State one for each: "
            f"--input {','.join(map(_example, inputs))}."
        )
    for value, shape in zip(inputs, shapes, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            for size in shape:
                value.type.tensor_type.shape.dim.add().dim_value = size
            continue
        sides = value.type.tensor_type.shape.dim
        fits = len(sides) == len(shape)
        for side, size in zip(sides, shape, strict=False):
            fixed = side.dim_value if side.dim_value > 0 else sizes.get(side.dim_param, size)
            fits = fits and fixed == size
            if side.dim_param:
                sizes[side.dim_param] = fixed
            else:
                side.dim_value = fixed
        if not fits:
            given = "x".join(map(str, shape))
            raise NetwrightError(
                f"{where}: its input {value.name!r} is {_written(value)}, and {given} was given. Allowed: that shape, with any "
                "size where a name or ? stands, the same for the same name."
            )


def _written(value: onnx.ValueInfoProto) -> str:
    """Return a shape as it stands in the file: 1x3xHxW."""
    sides = value.type.tensor_type.shape.dim
    return "x".join(str(side.dim_value) if side.dim_value > 0 else side.dim_param or "?" for side in sides)


def _example(value: onnx.ValueInfoProto) -> str:
    """Return a shape that an input might have: a batch of one, and 224 where a size is free."""
    sides = enumerate(value.type.tensor_type.shape.dim)
    return "x".join(str(side.dim_value if side.dim_value > 0 else 224 if place else 1) for place, side in sides)


def _skeleton(model: onnx.ModelProto, inputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """Return the model with these inputs, and its weights as inputs: inference then copies kilobytes instead of the whole network."""
    small = onnx.ModelProto()
    small.ir_version = max(model.ir_version, 4)  # from 4 on a constant need not be listed among the inputs
    small.opset_import.extend(model.opset_import)
    small.graph.name = model.graph.name or "graph"
    small.graph.value_info.extend(model.graph.value_info)
    small.graph.output.extend(model.graph.output)
    small.graph.input.extend(inputs)
    for node in model.graph.node:
        large = [a for a in node.attribute if a.type == a.TENSOR and _elements(a.t.dims) > _SMALL]
        if node.op_type == "Constant" and large:
            tensor = large[0].t
            kind = onnx.helper.make_tensor_value_info(node.output[0], tensor.data_type, list(tensor.dims))
            small.graph.input.append(kind)
        else:
            small.graph.node.append(_standard(node))
    for tensor in model.graph.initializer:
        if _elements(tensor.dims) <= _SMALL and not tensor.external_data:
            small.graph.initializer.append(tensor)
        else:
            kind = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            small.graph.input.append(kind)
    return small


def _standard(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the standard operation whose result has the shape of this one, if there is one; else itself."""
    transposed = any(attribute.name.startswith("trans") and attribute.i for attribute in node.attribute)
    last = any(attribute.name == "channels_last" and attribute.i for attribute in node.attribute)
    if node.domain != "com.microsoft" or node.op_type not in _ALIKE or last:
        return node
    name, places = _ALIKE[node.op_type]
    if name == "MatMul" and transposed:
        return node
    known = onnx.defs.get_schema(name).attributes
    operands = [node.input[place] for place in places if place < len(node.input)]
    made = onnx.helper.make_node(name, operands, list(node.output[:1]), name=node.name)
    made.attribute.extend(attribute for attribute in node.attribute if attribute.name in known)
    return made


def _elements(dims: object) -> int:
    count = 1
    for side in dims:  # pyright: ignore[reportGeneralTypeIssues] - a repeated field of protobuf
        count *= side
    return count


def _forget(model: onnx.ModelProto) -> None:
    """Drop shapes that were written for another batch."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.ClearField("shape")


def _known(graph: onnx.GraphProto) -> dict[str, Kind]:
    constants = {tensor.name: kind_of(tensor) for tensor in graph.initializer}
    return constants | dict(_kinds((*graph.input, *graph.value_info, *graph.output), {}))


def _kinds(values: object, sizes: Mapping[str, int]) -> Iterator[tuple[str, Kind]]:
    """Yield the tensors whose shape is fixed, or named by sizes that are."""
    for value in values:  # pyright: ignore[reportGeneralTypeIssues]
        if value.type.WhichOneof("value") != "tensor_type" or not value.type.tensor_type.HasField("shape"):
            continue
        sides = [
            side.dim_value if side.WhichOneof("value") == "dim_value" else sizes.get(side.dim_param, -1)
            for side in value.type.tensor_type.shape.dim
        ]
        if min(sides, default=0) >= 0:
            yield value.name, Kind(tuple(sides), dtype_of(value.type.tensor_type.elem_type))
