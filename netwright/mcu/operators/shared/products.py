"""What convolutions, depthwise convolutions, dense layers and matrix products share.

Lowering: the window, multipliers per channel, zero points in the bias, padding taken in. C: the fields of the kernels'
structs and their limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.conv import conv_multipliers, dense_multipliers, window_padding
from netwright.graph.integers.fixed import HIGHEST, multipliers_once, quantize_multipliers
from netwright.mcu.layer import Layer, Requantize, Window
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.pack import Packed

LARGEST_ACCUMULATOR = (1 << 31) - 1
LARGEST_FIELD = 32767  # sizes and channels are int16 fields of the kernels' structs
LARGEST_ROWS = 16  # NW_CONV_ROWS, NW_DEPTHWISE_ROWS


def image_window(work: Lowering, op: Op, given: int | None, made: int) -> tuple[int, Window]:
    """Return the value that a convolution reads and its window, padding before it included."""
    waiting = work.padded(given) if given is not None else None
    _, zero_point = work.quantization(op, given) if given is not None else (0, 0)
    if waiting and waiting.fill == zero_point and not waiting.before[2] and not waiting.after[2]:
        source, before, after = waiting.source, waiting.before[:2], waiting.after[:2]
    else:
        source, before, after = work.value(op, given), (0, 0), (0, 0)
    shape, wanted = work.values[source].shape, work.model.graph.tensors[made].shape
    if len(shape) != 3 or len(wanted) != 4 or wanted[0] != 1:
        raise work.refuse(
            op, f"it reads {shape} and makes {wanted}", "One image as (1, height, width, channels) is compiled."
        )
    weights = weights_of(work, op, work.operands(op)[1] if len(work.operands(op)) > 1 else None, 4)
    kernel = weights.shape[1], weights.shape[2]
    stride = op.arguments["stride_h"], op.arguments["stride_w"]
    dilation = op.arguments["dilation_h_factor"], op.arguments["dilation_w_factor"]
    return source, window(work, op, shape, (before, after), (kernel, stride, dilation), wanted)


def window(
    work: Lowering,
    op: Op,
    shape: tuple[int, ...],
    extra: tuple[tuple[int, ...], tuple[int, ...]],
    steps: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    wanted: tuple[int, ...],
) -> Window:
    """Return how a kernel slides over an image with `extra` padding before and after.

    `steps`: kernel size, stride and dilation, each as (height, width).

    The padding behind is what is read of it, no more.

    Raises:
        NetwrightError: impossible sizes, or a result of another shape than `wanted`.
    """
    kernel, stride, dilation = steps
    if min(*kernel, *stride, *dilation, *shape) < 1 or max(*kernel, *stride, *dilation) > 1 << 15:
        raise work.refuse(
            op, f"kernel {kernel}, stride {stride}, dilation {dilation} on {shape}", "All are at least 1."
        )
    padding = []
    for axis in (0, 1):
        full = shape[axis] + extra[0][axis] + extra[1][axis]
        before, _, outputs = window_padding(full, kernel[axis], stride[axis], dilation[axis], op.arguments["padding"])
        if outputs < 1 or outputs != wanted[axis + 1]:
            raise work.refuse(
                op, f"it makes {outputs} along axis {axis}, the model says {wanted[axis + 1]}", "Convert it again."
            )
        first = before + extra[0][axis]
        read = (outputs - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        padding += [first, max(0, read - first - shape[axis])]
    top, bottom, left, right = padding
    return Window(kernel, stride, (top, bottom, left, right), dilation)


def weights_of(work: Lowering, op: Op, tensor: int | None, rank: int) -> NDArray[np.int8]:
    """Return constant int8 weights of so many dimensions, whose zero points are 0."""
    values = work.constant(tensor)
    if tensor is None or values is None or values.dtype != np.int8 or values.ndim != rank or values.size == 0:
        what = (
            "missing" if tensor is None else f"{work.dtype(tensor)} of shape {work.model.graph.tensors[tensor].shape}"
        )
        raise work.refuse(op, f"its weights are {what}", f"Constant int8 weights of {rank} dimensions are compiled.")
    found = work.model.quantization[tensor]
    if found is None or not (found.scale > 0).all():
        raise work.refuse(op, "its weights have no positive scales", "Quantize the model fully.")
    if found.zero_point.any():
        raise work.refuse(op, "its weights have zero points other than 0", "Quantize the weights symmetrically.")
    return values


def requantization(
    work: Lowering, op: Op, rows: NDArray[np.int8], bias: int | None, *, read: int = 0, once: bool = False
) -> Requantize:
    """Return how sums of products with `rows` (outputs, products) become int8 (PopulateConvolutionQuantizationParams).

    `bias`: its tensor; `read`: place of the operand that is read; `once`: results are rounded once, as dense layers'.

    Raises:
        NetwrightError: a sum, or a result before it is clamped, may leave 32 bits.
    """
    tensors = work.operands(op)
    _, zero_point = work.quantization(op, tensors[read])  # pyright: ignore[reportArgumentType]
    _, output_zero_point = work.quantization(op, op.outputs[0])
    call = work.call(op)
    wide = rows.astype(np.int64)
    folded = _bias(work, op, bias, len(rows)) - zero_point * wide.sum(axis=1)
    # Kernels add stored values, or those without zero point, times weights to the bias in any order: no partial sum may
    # leave 32 bits.
    reach = np.abs(folded) + 256 * np.abs(wide).sum(axis=1)
    if reach.max() > LARGEST_ACCUMULATOR:
        raise work.refuse(
            op, f"its sums may reach {int(reach.max()):,}, beyond 32 bits", "Quantize with smaller biases."
        )
    reals = None
    if once:
        scales = dense_multipliers(call, len(rows))
        farthest = np.abs(folded) + 128 * np.abs(wide).sum(axis=1)
        if np.any(scales * farthest >= HIGHEST):
            raise work.refuse(op, "its results may leave 32 bits", "Quantize it with other scales.")
        multipliers = multipliers_once(scales, farthest)
        if multipliers is None:
            reals, multipliers = scales, quantize_multipliers(scales)
    else:
        multipliers = conv_multipliers(call, 1, len(rows), read)
    multiplier, shift = multipliers
    low, high = work.clamp(op, op.outputs[0])
    return Requantize(folded.astype(np.int32), multiplier, shift, output_zero_point, low, high, reals)


def bias_of(work: Lowering, op: Op) -> int | None:
    """Return the tensor of the bias, None where it is left out."""
    tensors = work.operands(op)
    return tensors[2] if len(tensors) > 2 else None


def _bias(work: Lowering, op: Op, tensor: int | None, outputs: int) -> NDArray[np.int64]:
    if tensor is None:
        return np.zeros(outputs, np.int64)
    values = work.constant(tensor)
    if values is None or values.dtype != np.int32 or values.size != outputs:
        raise work.refuse(
            op, f"its bias is no int32 constant of {outputs} numbers", "Quantize the model with int32 biases."
        )
    return values.reshape(-1).astype(np.int64)


def clamp_once_more(requantize: Requantize, low: int, high: int) -> Requantize:
    """Return a requantization whose results are clamped to another range too."""
    limits = {"low": min(max(requantize.low, low), high), "high": min(max(requantize.high, low), high)}
    return replace(requantize, **limits)


def window_fields(window: Window) -> dict[str, int]:
    """Return the fields of a kernel's struct that say how it slides."""
    return {
        **{"kernel_h": window.kernel[0], "kernel_w": window.kernel[1]},
        **{"stride_h": window.stride[0], "stride_w": window.stride[1]},
        **{"dilation_h": window.dilation[0], "dilation_w": window.dilation[1]},
        **{"pad_top": window.padding[0], "pad_left": window.padding[2]},
    }


def limit_fields(requantize: Requantize, input_zero_point: int) -> dict[str, int]:
    """Return the fields of a kernel's struct that say what values are clamped to and where zero is."""
    return {
        **{"low": requantize.low, "high": requantize.high, "zero_point": requantize.zero_point},
        "input_zero_point": input_zero_point,
    }


def matrix_fields(packed: Packed, outputs: int, limits: Mapping[str, int], name: str) -> dict[str, object]:
    """Return the fields of an nw_matrix."""
    sizes = {"outputs": outputs, "depth": packed.depth, "chunk": packed.chunk, "block": packed.block}
    kind = {"pixels": packed.pixels, "pairs": int(packed.pairs), "rounding": packed.rounding}
    return {"stream": f"{name}_weights", **sizes, **limits, **kind}


def check_fields(layer: Layer, **fields: int) -> None:
    """Refuse what the kernels' fields do not hold.

    Raises:
        NetwrightError: a kernel with more rows, or a larger size, than the kernels take.
    """
    rows = fields.get("kernel_h", 1)
    if rows > LARGEST_ROWS:
        raise NetwrightError(
            f"{layer.name}: a kernel {rows} rows high; the kernels take up to {LARGEST_ROWS}. Use a smaller kernel."
        )
    key, value = max(fields.items(), key=lambda item: abs(item[1]))
    if abs(value) > LARGEST_FIELD:
        raise NetwrightError(
            f"{layer.name}: {key} {value}; the kernels take up to {LARGEST_FIELD}. Use a smaller layer."
        )
