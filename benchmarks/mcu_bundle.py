"""Several integer networks as one, so that one compilation serves them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from netwright.graph.graph import Graph, Op, Ref, Storage, Tensor
from netwright.graph.integers.quantized import Quantization, QuantizedGraph


def bundle(models: Sequence[QuantizedGraph]) -> QuantizedGraph:
    """Return several networks side by side as one, which is compiled once: inputs and outputs follow one another."""
    tensors: list[Tensor] = []
    storages: list[Storage] = []
    ops: list[Op] = []
    inputs: list[int] = []
    outputs: list[int] = []
    names: list[str] = []
    quantized: list[Quantization | None] = []
    values: dict[int, NDArray[Any]] = {}
    for number, model in enumerate(models):
        graph, start = model.graph, len(tensors)
        tensors += [replace(tensor, storage=tensor.storage + len(storages)) for tensor in graph.tensors]
        storages += graph.storages
        for op in graph.ops:
            operands = [None if ref is None else Ref(ref.tensor + start) for ref in op.arguments["inputs"]]
            read, made = (tuple(index + start for index in ends) for ends in (op.inputs, op.outputs))
            arguments = {**op.arguments, "inputs": operands}
            ops.append(replace(op, inputs=read, outputs=made, arguments=arguments, path=f"{op.path}_{number}"))
        inputs += [index + start for index in graph.inputs]
        outputs += [index + start for index in graph.outputs]
        names += [f"{name}_{number}" for name in model.names]
        quantized += model.quantization
        values |= {index + start: array for index, array in model.values.items()}
    graph = Graph(tuple(tensors), tuple(storages), tuple(ops), tuple(inputs), tuple(outputs), "bundle")
    return QuantizedGraph(graph, tuple(names), tuple(quantized), values)
