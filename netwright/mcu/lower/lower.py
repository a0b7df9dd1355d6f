"""Make a `Network` of a quantized graph: every scale becomes a multiplier, padding joins what reads it, views cost nothing.

Each operator's rule (`operators`) appends layers to a `Lowering`. Every rounding of the reference kernels is kept: two
means in a row round twice. Floating point is dropped at the ends only: a leading QUANTIZE and a trailing DEQUANTIZE are
left to the caller, whose data then are int8 with the scale and zero point of the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.dilation import dilated
from netwright.graph.integers.fold import folded
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.layer import Layer, Network
from netwright.mcu.lower.clamps import merge_clamps
from netwright.mcu.operators.ends import input_value, shifted_by_128
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared import copies
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.table import arithmetic, by_name


@np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")  # what is not finite is refused later
def lower(model: QuantizedGraph, operators: Iterable[Operator] = ()) -> Network:
    """Return a quantized graph as layers with every constant computed. `operators`: of one's own.

    Raises:
        NetwrightError: an operator, a type or a number that is not supported; it says which, where, and what to do.
    """
    operators = tuple(operators)
    known = by_name(operators)
    model = dilated(folded(model, leave={name for one in operators for name in one.names}))
    graph = model.graph
    if not graph.inputs or not graph.outputs:
        raise NetwrightError("The model has no input or no output: nothing to compile.")
    empty = [model.names[index] for index, tensor in enumerate(graph.tensors) if tensor.elements == 0]
    if empty:
        raise NetwrightError(f"{empty[0]!r} has no elements: the model is damaged. Convert it again.")
    work = Lowering(model, arithmetic(known))
    inputs = [_input(work, tensor) for tensor in graph.inputs]
    for op in graph.ops:
        _lower_op(work, op, known)
    outputs = _outputs(work, inputs)
    made = Network(tuple(work.values), tuple(work.layers), tuple(inputs), tuple(outputs), 0, tuple(work.notes))
    return merge_clamps(_without_the_unread(made))


def _lower_op(work: Lowering, op: Op, known: Mapping[str, Operator]) -> None:
    operator = known.get(op.kind.removeprefix("tflite."))
    if operator is None or not op.kind.startswith("tflite."):
        raise work.refuse(
            op,
            "the operator is not known here",
            f"Supported: {', '.join(sorted(known))}. Convert the model without it, cut it off before it, or give an "
            "operator of your own (operators=, --operators).",
        )
    if op.writes:
        raise work.refuse(op, "it keeps a state between two runs", "Networks without states are compiled.")
    if len(op.outputs) == 0 or not work.operands(op):
        raise work.refuse(op, "it has no operands or no output", "The model is damaged: convert it again.")
    operator.lower(work, op)


def _input(work: Lowering, tensor: int) -> int:
    """Return the value of a network's input; a float32 or uint8 one is the int8 value that its QUANTIZE makes."""
    graph = work.model.graph
    given = graph.tensors[tensor]
    name = work.model.names[tensor]
    if given.shape[:1] != (1,):
        batch = given.shape[0] if given.shape else "no dimensions"
        raise NetwrightError(f"The input {name!r} is a batch of {batch}: convert the model for a batch of 1.")
    if tensor in work.model.values:
        raise NetwrightError(f"The input {name!r} is a constant too: the model is damaged.")
    if given.dtype == "int8":
        return input_value(work, tensor, tensor)
    readers = [op for op in graph.ops if tensor in op.inputs]
    made = {op.outputs[0] for op in readers if op.kind == "tflite.QUANTIZE" and len(op.outputs) == 1}
    if given.dtype not in ("float32", "uint8") or len(made) != 1 or len(readers) != 1:
        raise NetwrightError(
            f"The input {name!r} is of type {given.dtype}: int8 is compiled, or float32 or uint8 that one QUANTIZE reads. "
            "Convert the model with int8 inputs (inference_input_type)."
        )
    stored = made.pop()
    if graph.tensors[stored].shape != given.shape:
        raise NetwrightError(
            f"The input {name!r} is of shape {given.shape}, and as integers {graph.tensors[stored].shape}: the model is damaged."
        )
    if given.dtype == "uint8" and not shifted_by_128(work, tensor, stored):
        raise NetwrightError(
            f"The input {name!r} is of type uint8 and its QUANTIZE rescales it: int8 is compiled, or uint8 with the same scale "
            "and a zero point 128 higher. Convert the model with int8 inputs (inference_input_type)."
        )
    how = "its values less 128" if given.dtype == "uint8" else "its int8 values, as the header says"
    work.notes.append(f"the input {name!r} is {given.dtype} in the model: give {how}")
    value = input_value(work, stored, tensor)
    if tensor in graph.outputs:  # as its bytes say, which are given in the same way
        work.value_of[tensor] = value
        work.notes.append(f"the output {name!r} is that input: its int8 values are given")
    return value


def _outputs(work: Lowering, inputs: Sequence[int]) -> list[int]:
    """Return the values of a network's outputs, each its own: one that is an input or another output is copied."""
    graph = work.model.graph
    makers = {output: op for op in graph.ops for output in op.outputs}
    values: list[int] = []
    taken = set(inputs)
    for tensor in graph.outputs:
        if tensor in makers:
            value = work.value(makers[tensor], tensor)
        elif tensor in graph.inputs:
            value = work.value_of[tensor]
        else:
            why = (
                "a constant, the same for every input: take it out of the outputs, whoever calls the network can hold it"
                if tensor in work.model.values
                else "made by no operation and is no input: the model is damaged, convert it again"
            )
            raise NetwrightError(f"The output {work.model.names[tensor]!r} is {why}.")
        if work.root(value) in taken:
            old = work.values[value]
            copied = work.new(old.shape, f"{old.name} copied", old.scale, old.zero_point)
            block = copies.take(old.shape, (0,) * len(old.shape), (1,) * len(old.shape), old.shape)
            work.layers.append(copies.copy((value,), copied, f"{old.name} copied", (block,)))
            value = copied
        taken.add(work.root(value))
        values.append(value)
    return values


def _without_the_unread(network: Network) -> Network:
    """Drop layers that no output depends on, and values that nothing refers to."""
    needed = {network.root(value) for value in network.outputs}
    kept: list[Layer] = []
    for layer in reversed(network.layers):
        if network.root(layer.output) in needed:
            kept.append(layer)
            needed |= {network.root(value) for value in layer.inputs}
    kept.reverse()
    used = {*network.inputs, *network.outputs, *(value for layer in kept for value in (*layer.inputs, layer.output))}
    for value in sorted(used, reverse=True):
        while network.values[value].alias >= 0:
            value = network.values[value].alias
            used.add(value)
    place = {value: number for number, value in enumerate(sorted(used))}
    values = tuple(
        replace(network.values[value], alias=place.get(network.values[value].alias, -1)) for value in sorted(used)
    )
    layers = tuple(
        replace(layer, inputs=tuple(place[value] for value in layer.inputs), output=place[layer.output])
        for layer in kept
    )
    dropped = len(network.layers) - len(kept)
    notes = (*network.notes, f"{dropped} layers are left out: no output depends on them") if dropped else network.notes
    return Network(
        values,
        layers,
        tuple(place[value] for value in network.inputs),
        tuple(place[value] for value in network.outputs),
        sum(layer.macs(values) for layer in layers),
        notes,
    )
