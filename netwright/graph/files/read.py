"""Read a network's operations from a file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Graph

SUFFIXES = (".tflite", ".onnx", ".pt2")


def read_graph(path: str | Path) -> Graph:
    """Return the operations of a .tflite, .onnx or .pt2 (ExportedProgram) file.

    Free batches become 1 in .onnx, and what they were in the example in .pt2. Nothing in the file is executed.

    Raises:
        NetwrightError: another suffix, or the file cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".tflite":
        from netwright.graph.files.tflite import read_tflite

        return read_tflite(path)
    if suffix == ".onnx":
        from netwright.graph.files.onnx import read_onnx

        return read_onnx(path)
    if suffix == ".pt2":
        from netwright.graph.files.pt2 import read_program

        return read_program(path)
    raise NetwrightError(f"{path} is none of the files that can be read: {', '.join(SUFFIXES)}.")
