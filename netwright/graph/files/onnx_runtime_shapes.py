"""Shapes as ONNX Runtime finds them: it folds constants and the arithmetic of shapes when it loads a model."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

# ONNX Runtime's names of types, where they are not torch's.
_TYPES = {"float": "float32", "double": "float64"}
_MOST_BYTES = 1 << 20  # of a constant that it may make: shapes are shorter
_STARTS = "tensor("


def runtime_shapes(model: onnx.ModelProto, wanted: Iterable[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of those of the wanted tensors for which ONNX Runtime finds a fixed shape; nothing is run.

    `model` should hold no large constants. Nothing is found where ONNX Runtime cannot load it: an operation of another
    party, an opset that is too new.
    """
    import onnxruntime as ort

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    known = {value.name for value in asked.graph.output}
    # What is an output keeps its name: ONNX Runtime may neither fuse nor drop it.
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(_MOST_BYTES))
    try:
        session = ort.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - it has a class for each of many reasons; what it cannot tell stays unknown
        return {}
    found = {}
    for value in session.get_outputs():
        fixed = all(isinstance(side, int) and side >= 0 for side in value.shape)
        if fixed and value.type.startswith(_STARTS):
            name = value.type[len(_STARTS) : -1]
            found[value.name] = (tuple(value.shape), _TYPES.get(name, name))
    return found
