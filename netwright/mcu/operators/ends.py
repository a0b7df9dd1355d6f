"""The ends of a network, where floats and unsigned bytes become int8 and back: lowering rules."""

from __future__ import annotations

from netwright.graph.graph import Op
from netwright.mcu.operators import lookup
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering


def input_value(work: Lowering, tensor: int, named: int) -> int:
    """Return the value of a network's input: the tensor that is int8, under the name of the input."""
    op = Op("tflite.INPUT", (), (tensor,), {"inputs": []})
    scale, zero_point = work.quantization(op, tensor)
    value = work.new(work.shape(tensor), work.model.names[named], scale, zero_point)
    work.value_of[tensor] = value
    return value


def lower_quantize(work: Lowering, op: Op) -> None:
    """QUANTIZE: at a network's border nothing is left of it; from int8 to int8 it is a table."""
    source, made = work.operands(op)[0], op.outputs[0]
    if made in work.value_of:
        return
    if source is not None and work.dtype(made) == "uint8" and shifted_by_128(work, made, source) and _ends(work, made):
        work.value_of[made] = work.value(op, source)
        work.notes.append(f"the output {work.model.names[made]!r} is uint8 in the model: its values less 128 are given")
    else:
        lookup.lower(work, op)


def shifted_by_128(work: Lowering, wide: int, stored: int) -> bool:
    """Whether a uint8 tensor holds an int8 tensor's values plus 128, and means the same."""
    found = [work.model.quantization[tensor] for tensor in (wide, stored)]
    if found[0] is None or found[1] is None or work.dtype(wide) != "uint8" or work.dtype(stored) != "int8":
        return False
    same = len(found[0].scale) == len(found[1].scale) == 1 and found[0].scale[0] == found[1].scale[0]
    return same and int(found[0].zero_point[0]) == int(found[1].zero_point[0]) + 128


def _ends(work: Lowering, tensor: int) -> bool:
    """Whether a tensor is an output of the network that nothing reads."""
    return tensor in work.model.graph.outputs and not any(tensor in op.inputs for op in work.model.graph.ops)


def lower_dequantize(work: Lowering, op: Op) -> None:
    """DEQUANTIZE at the end: the output is given as int8."""
    source, made = work.operands(op)[0], op.outputs[0]
    if source is None or work.dtype(source) != "int8" or not _ends(work, made):
        raise work.refuse(
            op, "its float values are computed with", "Quantize the model fully; DEQUANTIZE may only end it."
        )
    if work.model.graph.tensors[source].shape != work.model.graph.tensors[made].shape:
        raise work.refuse(op, "its input is of another shape", "The model is damaged: convert it again.")
    work.value_of[made] = work.value(op, source)
    work.notes.append(
        f"the output {work.model.names[made]!r} is float32 in the model: int8 is given, as the header says"
    )


QUANTIZE = Operator(("QUANTIZE",), lower_quantize)
DEQUANTIZE = Operator(("DEQUANTIZE",), lower_dequantize)
