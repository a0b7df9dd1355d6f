"""Activations of TensorFlow Lite's integer reference kernels that stand as operations of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.graph.integers.call import Call
from netwright.graph.integers.fixed import activation_range, divide_by_power, limits, quantize_multiplier, rescale, wrap

_RANGES = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}


def relu(call: Call) -> NDArray[Any]:
    """RELU, RELU6 and RELU_N1_TO_1, with requantization (QuantizedReluX)."""
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    real = call.array(0).astype(np.int64) - zero_point
    result = rescale(real, *quantize_multiplier(float(scale / output))) + zero_out
    activation = _RANGES[call.op.kind.removeprefix("tflite.")]
    low, high = activation_range(activation, float(output), zero_out, call.out_dtype())
    return np.clip(result, low, high).astype(call.out_dtype())


def leaky_relu(call: Call) -> NDArray[Any]:
    """LEAKY_RELU (reference_ops::QuantizeLeakyRelu)."""
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    real = call.array(0).astype(np.int64) - zero_point
    slope = np.float32(call.option("alpha"))
    above = rescale(real, *quantize_multiplier(float(scale / output)))
    below = rescale(real, *signed_multiplier(float(scale * slope / output)))
    return _clamped(np.where(real >= 0, above, below) + zero_out, call)


def prelu(call: Call) -> NDArray[Any]:
    """PRELU with a slope for every channel or element (reference_ops::BroadcastPrelu4DSlow)."""
    (scale, zero_point), (slope, zero_slope), (output, zero_out) = call.of(0), call.of(1), call.out()
    real = call.array(0).astype(np.int64) - zero_point
    above = rescale(real, *quantize_multiplier(float(scale / output)))
    product = real * (call.array(1).astype(np.int64) - zero_slope)
    below = rescale(product, *quantize_multiplier(float(scale * slope / output)))
    return _clamped(np.where(real >= 0, above, below) + zero_out, call)


def signed_multiplier(real: float) -> tuple[int, int]:
    """Return mantissa and shift of a multiplier that may be negative; see `quantize_multiplier`."""
    mantissa, shift = quantize_multiplier(abs(real))
    return (-mantissa if real < 0 else mantissa), shift


def _high_16(a: NDArray[np.int64], b: int) -> NDArray[np.int64]:
    """Return a x b / 2**15 of 16-bit values to the nearest, ties up (SaturatingRoundingDoublingHighMul on int16)."""
    return np.minimum((a * b + (1 << 14)) >> 15, (1 << 15) - 1)


def _narrow(mantissa: int) -> int:
    """Return a 32-bit mantissa as 16 bits (DownScaleInt32ToInt16Multiplier)."""
    return min((mantissa + (1 << 15)) >> 16, (1 << 15) - 1)


def _divide_16(values: NDArray[np.int64], exponent: int) -> NDArray[np.int64]:
    """Return what RoundingDivideByPOT gives of 16-bit values; from 2**16 on its mask, -1 there, makes it the sign."""
    if exponent < 16:
        return divide_by_power(values, exponent)
    return np.where(values < 0, -1, 1)


def hard_swish(call: Call) -> NDArray[Any]:
    """HARD_SWISH in 16 bits (reference_ops::HardSwish): x times (x + 3) / 6 clamped to [0, 1].

    Raises:
        NetwrightError: the output's scale is less than 1/128 of the input's.
    """
    (scale, zero_point), (output, zero_out) = call.of(0), call.out()
    fine = np.float32(1 / 128) * scale
    out_mantissa, out_shift = quantize_multiplier(float(fine / output))
    gate_mantissa, gate_shift = quantize_multiplier(float(fine / np.float32(3 / 32768)))
    if out_shift > 0:
        raise NetwrightError(f"{call.where}: the output's scale {output:g} is too small for the input's, {scale:g}.")
    x = (call.array(0).astype(np.int64) - zero_point) << 7
    scaled = _high_16(x, _narrow(out_mantissa))
    gate = x
    if gate_shift > 0:
        gate = np.clip(gate << (gate_shift - 1), *limits("int16"))
    gate = _high_16(gate, _narrow(gate_mantissa))
    if gate_shift > 0:
        gate = np.clip(gate << 1, *limits("int16"))
    elif gate_shift < 0:
        gate = _divide_16(gate, -gate_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    product = np.sign(product) * (np.abs(product) >> 15)  # truncated towards zero
    return _clamped(wrap(_divide_16(product, -out_shift) + zero_out, 16), call)


def _clamped(values: NDArray[np.int64], call: Call) -> NDArray[Any]:
    return np.clip(values, *limits(call.out_dtype())).astype(call.out_dtype())
