"""ONNX Runtime on the CPU: the default runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as errors  # type: ignore[attr-defined]
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.nn.wiring import Wiring
from netwright.runtime.chain import chain_onnx
from netwright.runtime.export import quick_onnx
from netwright.runtime.runtimes import Runtime

_UNREADABLE = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoModel,
    errors.NotImplemented,
    errors.RuntimeException,
)


class OnnxProgram:
    """One loaded model with one output; `run` maps an array for each input to an array."""

    def __init__(self, session: ort.InferenceSession):
        self.session = session
        self.input_names = [value.name for value in session.get_inputs()]
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(None, dict(zip(self.input_names, inputs, strict=True)))[0])


def compile(module: nn.Module, *in_shapes: tuple[int, ...], threads: int = 1) -> OnnxProgram:
    """Return a module in eval mode as a program for batch 1; `in_shapes`, one an input, leave out the batch."""
    return OnnxProgram(_session(quick_onnx(module, *in_shapes).SerializeToString(), threads))


def prepare(module: nn.Module, *in_shapes: tuple[int, ...]) -> onnx.ModelProto:
    """Return one part of later programs."""
    return quick_onnx(module, *in_shapes)


def chain(parts: Sequence[onnx.ModelProto], *, threads: int = 1, wiring: Wiring | None = None) -> OnnxProgram:
    """Return prepared parts, each fed by the one before, or as `wiring` says, as one program."""
    return OnnxProgram(_session(chain_onnx(parts, wiring).SerializeToString(), threads))


def load(path: str | Path, *, threads: int = 1) -> OnnxProgram:
    """Load an ONNX file.

    Raises:
        NetwrightError: the file is missing, damaged, or has other than one input.
    """
    path = Path(path)
    if not path.is_file():
        raise NetwrightError(f"{path} does not exist. Make an ONNX file with `netwright deploy`.")
    try:
        session = _session(str(path), threads)
    except _UNREADABLE as error:
        raise NetwrightError(f"{path} is not an ONNX model that ONNX Runtime can run: {error}") from error
    if len(session.get_inputs()) != 1:
        names = ", ".join(value.name for value in session.get_inputs())
        raise NetwrightError(f"{path} has the inputs {names}; netwright runs models with one input.")
    return OnnxProgram(session)


def _session(model: bytes | str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


RUNTIME = Runtime("onnxruntime", compile, prepare, chain)
