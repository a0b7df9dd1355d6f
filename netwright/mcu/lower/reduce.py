"""Pools, means and softmax as layers."""

from __future__ import annotations

import math

from netwright.graph.graph import Op
from netwright.graph.integers.functions import softmax_constants
from netwright.graph.integers.reduce import mean_constants
from netwright.mcu.emit.simple import mean_sides
from netwright.mcu.lower.conv import window
from netwright.mcu.lower.lowering import Lowering, Permuted, without_batch
from netwright.mcu.network import Mean, Pool, Softmax


def pool(work: Lowering, op: Op) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D; the largest value takes in padding that no value is below."""
    (given, *_), kind = work.operands(op), "average" if op.kind == "tflite.AVERAGE_POOL_2D" else "max"
    waiting = work.padded(given) if given is not None and kind == "max" else None
    if waiting and waiting.fill == -128 and not waiting.before[2] and not waiting.after[2]:
        source, extra = waiting.source, (waiting.before[:2], waiting.after[:2])
    else:
        source, extra = work.value(op, given), ((0, 0), (0, 0))
    shape, wanted = work.values[source].shape, work.model.graph.tensors[op.outputs[0]].shape
    if len(shape) != 3 or len(wanted) != 4 or wanted[0] != 1 or wanted[3] != shape[2]:
        raise work.refuse(
            op, f"it reads {shape} and makes {wanted}", "One image as (1, height, width, channels) is compiled."
        )
    kernel = op.arguments["filter_height"], op.arguments["filter_width"]
    stride = op.arguments["stride_h"], op.arguments["stride_w"]
    slides = window(work, op, shape, extra, (kernel, stride, (1, 1)), wanted)
    if max(slides.padding[0], slides.padding[1]) >= kernel[0] or max(slides.padding[2], slides.padding[3]) >= kernel[1]:
        raise work.refuse(op, "some of its windows hold padding only", "Pad less than the window's sides.")
    if kernel[0] * kernel[1] > 1 << 16:
        raise work.refuse(op, f"its window {kernel} is too large", "At most 65,536 places.")
    if given is None or work.quantization(op, given) != work.quantization(op, op.outputs[0]):
        raise work.refuse(op, "its output has another scale or zero point than its input", "Convert the model again.")
    low, high = work.clamp(op, op.outputs[0])
    output = work.make(op, op.outputs[0])
    work.layers.append(Pool((source,), output, op.path, kind, slides, low, high))


def mean(work: Lowering, op: Op) -> None:
    """MEAN over any dimensions; a transposition before it stays one behind it, of what is left."""
    tensors = work.operands(op)
    given = tensors[0]
    full = work.model.graph.tensors[given].shape if given is not None else ()
    axes = work.integers(op, tensors[1] if len(tensors) > 1 else None, "axes")
    if any(not -len(full) <= axis < len(full) for axis in axes):
        raise work.refuse(op, f"its axes {axes} are not among {len(full)} dimensions", "Convert the model again.")
    waiting = work.permuted(given) if given is not None else None
    cut = len(full) - len(without_batch(full))
    if waiting and (op.arguments["keep_dims"] or len(waiting.order) != len(full) - cut):
        waiting = None
    source = waiting.source if waiting else work.value(op, given)
    given_value = work.values[source]
    reduced = sorted({axis % len(full) - cut for axis in axes} - ({-1} if cut else set()))
    order = waiting.order if waiting else tuple(range(len(given_value.shape)))
    own = tuple(sorted(order[axis] for axis in reduced))
    _, zero_point = work.quantization(op, given)  # pyright: ignore[reportArgumentType]
    _, output_zero_point = work.quantization(op, op.outputs[0])
    count = math.prod(given_value.shape[axis] for axis in own)
    if not 1 <= count <= 1 << 22:
        raise work.refuse(op, f"it takes the mean of {count} values", "1 to 4,194,304 are possible.")
    try:
        mean_sides(given_value.shape, own)
    except ValueError as error:
        raise work.refuse(op, str(error), "Take the means one after the other.") from None
    multiplier, shift = mean_constants(work.call(op), count)
    kept = [axis for axis in range(len(order)) if axis not in own]
    wanted = [axis for axis in order if axis not in own]
    if math.prod(given_value.shape[axis] for axis in kept) != work.model.graph.tensors[op.outputs[0]].elements:
        raise work.refuse(op, "its output is of another shape than the model says", "Convert the model again.")
    straight = kept == wanted
    shape = None if straight else tuple(given_value.shape[axis] for axis in kept)
    output = work.make(op, op.outputs[0], shape=shape)
    work.layers.append(Mean((source,), output, op.path, own, zero_point, multiplier, shift, output_zero_point))
    if not straight:
        work.waits(op.outputs[0], Permuted(output, tuple(kept.index(axis) for axis in wanted)), op.path)


def softmax(work: Lowering, op: Op) -> None:
    """SOFTMAX over the last dimension, to the scale 1/256 that its reference kernel has."""
    (given, *_) = work.operands(op)
    source = work.value(op, given)
    scale, _ = work.quantization(op, given)  # pyright: ignore[reportArgumentType]
    if work.quantization(op, op.outputs[0]) != (1 / 256, -128):
        raise work.refuse(op, "its output is not of scale 1/256 and zero point -128", "Convert the model again.")
    beta = float(op.arguments["beta"])
    shape = work.values[source].shape
    if not 0 < beta < 1e6 or shape != work.shape(op.outputs[0]) or not 1 <= shape[-1] < 4096:
        raise work.refuse(
            op, f"beta {beta} on {shape}", "beta is positive; 1 to 4,095 values stand in the last dimension."
        )
    multiplier, left_shift, diff_min = softmax_constants(beta, scale)
    if not 0 <= left_shift <= 30:
        raise work.refuse(op, f"the scale {scale:g} is out of its arithmetic's range", "Quantize the model again.")
    output = work.make(op, op.outputs[0])
    work.layers.append(Softmax((source,), output, op.path, multiplier, left_shift, diff_min))
