"""ONNX files from PyTorch modules: the artifact, through torch's current exporter, and a quick form for measuring."""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.files import atomic_path

OPSET = 20


def export_onnx(
    module: nn.Module,
    in_shape: tuple[int, ...],
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    batch: int | None = None,
    input_name: str = "images",
    output_name: str = "logits",
) -> Path:
    """Write a module in eval mode as one self-contained ONNX file, atomically; the module is not changed.

    BatchNorm is folded into the convolutions. `in_shape` leaves out the batch, which is free unless `batch` fixes it.

    Raises:
        NetwrightError: the module holds an operation that cannot be exported, or the file cannot be written.
    """
    path = Path(path)
    example = torch.zeros(batch or 2, *in_shape)  # two: the exporter would take a batch of one for a constant
    free = None if batch else ({0: torch.export.Dim("batch")},)
    try:
        with _quiet():
            program = torch.onnx.export(
                _frozen(module),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[input_name],
                output_names=[output_name],
                dynamic_shapes=free,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise NetwrightError(
            f"{type(module).__name__} with input {in_shape} cannot be exported to ONNX: {reason}. "
            "Every operation must be one that torch.export can trace."
        ) from error
    assert program is not None
    program.model.metadata_props.update(metadata or {})
    with atomic_path(path) as temporary:
        program.save(temporary, external_data=False)
    return path


def quick_onnx(module: nn.Module, *in_shapes: tuple[int, ...]) -> onnx.ModelProto:
    """Return the ONNX model of a module for batch 1 and its input shapes, made some 60 times faster than by `export_onnx`.

    For measuring only: hundreds of networks take seconds instead of minutes. It uses torch's older exporter, which
    writes the same operations (a test compares the graphs), and the current one where the older one fails or is gone.
    """
    frozen, buffer = _frozen(module), io.BytesIO()
    example = tuple(torch.zeros(1, *shape) for shape in in_shapes)
    try:
        with _quiet():
            torch.onnx.export(
                frozen,
                example,
                buffer,  # type: ignore[arg-type] - the older exporter takes a file
                dynamo=False,
                opset_version=OPSET,
            )
    except (torch.onnx.OnnxExporterError, TypeError, ValueError):
        with _quiet():
            program = torch.onnx.export(frozen, example, dynamo=True, verbose=False, opset_version=OPSET)
        assert program is not None
        return program.model_proto
    return onnx.load_from_string(buffer.getvalue())


def _frozen(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).cpu().eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep standard output clean, and drop the warnings that tell users of torch's exporters nothing they can act on."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch|onnxscript|copyreg")
        yield
