"""Read a network's operations from a file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Graph

SUFFIXES = (".tflite", ".onnx", ".pt2")


def read_graph(path: str | Path, *, shapes: Sequence[Sequence[int]] = ()) -> Graph:
    """Return the operations of a .tflite, .onnx or .pt2 (ExportedProgram) file.

    Free batches become 1 in .onnx, and what they were in the example in .pt2. `shapes`: of the inputs in order, which an
    .onnx file may leave free; the other formats state theirs. Nothing in the file is executed.

    Raises:
        NetwrightError: another suffix, the file cannot be read, or its inputs have other shapes.
    """
    suffix = Path(path).suffix.lower()
    if shapes and suffix != ".onnx":
        graph = read_graph(path)
        stated = [graph.tensors[index].shape for index in graph.inputs]
        if stated != [tuple(shape) for shape in shapes]:
            told = ",".join("x".join(map(str, shape)) for shape in stated)
            raise NetwrightError(f"{path} states the shapes of its inputs, {told}: leave --input out.")
        return graph
    if suffix == ".tflite":
        from netwright.graph.files.tflite import read_tflite

        return read_tflite(path)
    if suffix == ".onnx":
        from netwright.graph.files.onnx import read_onnx

        return read_onnx(path, shapes=shapes)
    if suffix == ".pt2":
        from netwright.graph.files.pt2 import read_program

        return read_program(path)
    raise NetwrightError(f"{path} is none of the files that can be read: {', '.join(SUFFIXES)}.")
