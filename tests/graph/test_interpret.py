"""The integer interpreter against its kernels' definitions, written once more one number at a time, and against reals."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.mcu_cases import MAKERS, random_case
from netwright.core.errors import NetwrightError
from netwright.graph.integers import fixed
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.conv import window_padding
from netwright.graph.integers.functions import exp_of_negative, reciprocal
from netwright.graph.integers.interpret import KERNELS, interpret
from netwright.graph.integers.quantized import QuantizedGraph


def int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def toward_zero(a: int, b: int) -> int:
    return int(abs(a) // b) * (-1 if a < 0 else 1)


def scalar_rescale(value: int, mantissa: int, shift: int) -> int:
    """gemmlowp's two steps as they are defined: a nudge by sign and truncation, then a threshold on the remainder."""
    value = int32(value << max(shift, 0))
    product = value * mantissa
    high = toward_zero(product + ((1 << 30) if product >= 0 else 1 - (1 << 30)), 1 << 31)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> exponent) + (1 if (high & mask) > threshold else 0)


def scalar_round(value: Fraction) -> int:
    return math.floor(abs(value) + Fraction(1, 2)) * (-1 if value < 0 else 1)


def run(model: QuantizedGraph, *inputs: np.ndarray) -> np.ndarray:
    return interpret(model, list(inputs))[0]


def test_multipliers_are_the_nearest_of_31_bits() -> None:
    for real in np.exp(np.random.default_rng(0).uniform(-20, 20, 500)).tolist():
        mantissa, shift = fixed.quantize_multiplier(real)
        assert 1 << 30 <= mantissa < 1 << 31
        assert abs(Fraction(mantissa, 1 << 31) * Fraction(2) ** shift / Fraction(real) - 1) <= Fraction(1, 1 << 31)
    assert fixed.quantize_multiplier(0.0) == (0, 0)
    assert fixed.quantize_multiplier(1 - 2.0**-40) == (1 << 30, 1)
    assert fixed.quantize_multiplier(2.0**-32) == (1 << 30, -31)  # the least that is not zero
    assert fixed.quantize_multiplier(2.0**-32 * (1 - 2.0**-20)) == fixed.quantize_multiplier(2.0**-33) == (0, 0)
    for wrong in (-1.0, math.inf, math.nan, 2.0**31):
        with pytest.raises(NetwrightError, match="multiplier"):
            fixed.quantize_multiplier(wrong)


def test_rescaling_is_what_the_definition_gives_number_by_number() -> None:
    rng = np.random.default_rng(1)
    ends = np.array([-(1 << 31), -(1 << 31) + 1, -1, 0, 1, (1 << 31) - 1])
    for shift in range(-31, 31):
        values = np.concatenate([ends, rng.integers(-(1 << 31), 1 << 31, 20), rng.integers(-3000, 3000, 20)])
        for mantissa in (0, 1 << 30, (1 << 31) - 1, int(rng.integers(1 << 30, 1 << 31))):
            expected = [scalar_rescale(int(value), mantissa, shift) for value in values]
            assert fixed.rescale(values, mantissa, shift).tolist() == expected


def test_rescaling_per_channel_mixes_shifts_of_both_directions() -> None:
    values = np.arange(-600, 600).reshape(-1, 4)
    mantissas, shifts = np.array([1 << 30, 1518500250, 2000000000, 0]), np.array([-3, 0, 2, -31])
    found = fixed.rescale(values, mantissas, shifts)
    expected = [
        [scalar_rescale(int(v), int(m), int(s)) for v, m, s in zip(row, mantissas, shifts, strict=True)]
        for row in values
    ]
    assert found.tolist() == expected


def test_one_rounding_is_the_exact_one() -> None:
    values = np.arange(-2000, 2000)
    for mantissa, shift in ((1 << 30, 0), (1 << 30, -5), (1234567890, -7), (2147483647, 3)):
        real = Fraction(mantissa, 1 << 31) * Fraction(2) ** shift
        expected = [scalar_round(int(value) * real) for value in values]
        assert fixed.rescale_once(values, mantissa, shift).tolist() == expected
        assert fixed.rescale_real(values, float(real)).tolist() == expected


def test_integer_multipliers_of_dense_layers_equal_the_real_ones_for_every_sum_in_reach() -> None:
    rng = np.random.default_rng(2)
    reals = np.concatenate([np.exp(rng.uniform(-9, 1, 40)), [0.5, 0.25, 0.125, 1.0, 3.0, 1e-12]])
    reach = np.full(len(reals), 40_000)
    found = fixed.multipliers_once(reals, reach)
    assert found is not None
    sums = np.arange(-40_000, 40_001)[:, None]
    ours = np.clip(fixed.rescale_once(sums, *found), -512, 512)
    assert np.array_equal(ours, np.clip(fixed.rescale_real(sums, reals), -512, 512))


def test_integer_multipliers_that_cannot_be_exact_are_refused() -> None:
    # Sums near 2**31 times 2**-24: a mantissa of 31 bits moves some step by a whole sum.
    reals = np.random.default_rng(3).uniform(0.5, 1, 200) * 2.0**-24
    reach = np.full(len(reals), (1 << 31) - 1)
    found = fixed.multipliers_once(reals, reach)
    assert found is None
    assert fixed.multipliers_once(reals, reach >> 12) is not None
    # Sums times 4,000 that leave 32 bits, where LiteRT's conversion to int32 gives the least integer.
    assert fixed.multipliers_once(np.array([4000.0]), np.array([1 << 20])) is None


def test_exp_and_reciprocal_in_fixed_point_are_near_the_real_ones() -> None:
    a = -np.arange(0, 1 << 31, 1 << 21, dtype=np.int64)
    real = np.exp(a / 2.0**26)
    assert np.abs(exp_of_negative(a, 5) / 2.0**31 - real).max() < 3e-7  # what the Taylor expansion leaves out
    b = np.arange(0, 1 << 31, 1 << 21, dtype=np.int64)
    assert np.abs(reciprocal(b) / 2.0**31 - 1 / (1 + b / 2.0**31)).max() < 1e-8


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3))])
def test_convolutions_equal_sums_written_out(padding: str, stride: tuple, dilation: tuple) -> None:
    rng = np.random.default_rng(4)
    x, w = rng.integers(-128, 128, (2, 6, 7, 4)), rng.integers(-127, 128, (6, 3, 2, 2))
    bias, zero, out_zero = rng.integers(-900, 900, 6), 11, -7
    scales = rng.uniform(0.001, 0.003, 6).astype(np.float32)
    sides = [window_padding(s, k, t, d, padding) for s, k, t, d in zip((6, 7), (3, 2), stride, dilation, strict=True)]
    builder = GraphBuilder()
    at = builder.input("x", (2, 6, 7, 4), quantization(0.5, zero))
    operands = [at, builder.constant("w", w.astype(np.int8), quantization(scales, 0, 0))]
    operands.append(builder.constant("b", bias.astype(np.int32), quantization(scales * 0.5, 0, 0)))
    shape = (2, sides[0][2], sides[1][2], 6)
    options = {"stride_h": stride[0], "stride_w": stride[1], "padding": padding, "fused_activation_function": "RELU6"}
    options |= {"dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1]}
    model = builder.build([builder.op("CONV_2D", operands, shape, quantization(0.05, out_zero), **options)])
    found = run(model, x.astype(np.int8))
    for n, oy, ox, c in np.ndindex(found.shape):
        total = int(bias[c])
        for ky, kx, k in np.ndindex(3, 2, 2):
            iy = oy * stride[0] + ky * dilation[0] - sides[0][0]
            ix = ox * stride[1] + kx * dilation[1] - sides[1][0]
            if 0 <= iy < 6 and 0 <= ix < 7:
                total += (int(x[n, iy, ix, c // 3 * 2 + k]) - zero) * int(w[c, ky, kx, k])  # two groups
        multiplier = fixed.quantize_multiplier(0.5 * float(scales[c]) / float(np.float32(0.05)))
        value = scalar_rescale(total, *multiplier) + out_zero
        assert found[n, oy, ox, c] == min(max(value, out_zero, -128), out_zero + 120, 127)


def test_depthwise_filters_read_the_channel_that_they_belong_to() -> None:
    rng = np.random.default_rng(5)
    x, w = rng.integers(-128, 128, (1, 3, 3, 4)), rng.integers(-127, 128, (1, 3, 3, 12))
    options = {"stride_h": 1, "stride_w": 1, "padding": "VALID", "depth_multiplier": 3}
    builder = GraphBuilder()
    operands = [builder.input("x", x.shape, quantization(1, 5))]
    operands.append(builder.constant("w", w.astype(np.int8), quantization(1, 0, 3)))
    operands.append(builder.constant("b", np.zeros(12, np.int32), quantization(1, 0, 0)))
    found = run(
        builder.build([builder.op("DEPTHWISE_CONV_2D", operands, (1, 1, 1, 12), quantization(2**12), **options)]),
        x.astype(np.int8),
    )
    sums = [int(((x[0, :, :, c // 3] - 5) * w[0, :, :, c]).sum()) for c in range(12)]
    assert found.reshape(-1).tolist() == [scalar_rescale(total, *fixed.quantize_multiplier(2.0**-12)) for total in sums]
    assert len(set(found.reshape(-1).tolist())) > 6


@pytest.mark.parametrize("shape", [(7, 9), (12, 5), (3, 4), (4, 6)])
@pytest.mark.parametrize("corners", ["align", "half", "top left"])
def test_resizing_is_within_a_step_of_the_real_one(shape: tuple[int, int], corners: str) -> None:
    x = np.random.default_rng(6).integers(-128, 128, (1, 4, 6, 2)).astype(np.int8)
    options = {"align_corners": corners == "align", "half_pixel_centers": corners == "half"}
    builder = GraphBuilder()
    operands = [builder.input("x", x.shape, quantization(1)), builder.constant("size", np.array(shape, np.int32))]
    out = builder.op("RESIZE_BILINEAR", operands, (1, *shape, 2), quantization(1), **options)
    found = run(builder.build([out]), x)
    if corners == "top left":  # every output reads from its number times the ratio on
        places = [np.arange(count) * side / count for count, side in zip(shape, (4, 6), strict=True)]
        rows, columns = [
            np.stack([np.interp(place, np.arange(side), row) for row in np.eye(side)], 1)
            for place, side in zip(places, (4, 6), strict=True)
        ]
        expected = np.einsum("yh,xw,nhwc->nyxc", rows, columns, x)
    else:
        x_BCHW = torch.from_numpy(x).permute(0, 3, 1, 2).double()
        resized = nn.functional.interpolate(x_BCHW, shape, mode="bilinear", align_corners=corners == "align")
        expected = resized.permute(0, 2, 3, 1).numpy()
    assert np.abs(found - expected).max() <= 1.5


def test_a_slice_may_say_its_end_as_an_offset_from_its_beginning() -> None:
    x = np.arange(24).reshape(4, 6).astype(np.int8)
    for offset, expected in ((True, x[1:3, 2:6:2]), (False, x[1:2, 2:4:2])):
        builder = GraphBuilder()
        ends = [np.array(values, np.int32) for values in ([1, 2], [2, 4], [1, 2])]
        operands = [builder.input("x", x.shape, quantization(1))]
        operands += [builder.constant(name, end) for name, end in zip(("begin", "end", "step"), ends, strict=True)]
        out = builder.op("STRIDED_SLICE", operands, expected.shape, quantization(1), offset=offset)
        assert run(builder.build([out]), x).tolist() == expected.tolist()


def test_large_sums_are_exact() -> None:
    """All weights 127, all inputs 255 from their zero point: the sums pass 2**24, where float32 would round them."""
    depth = 4001
    builder = GraphBuilder()
    at = builder.input("x", (1, 1, 1, depth), quantization(1, -128))
    weights = builder.constant("w", np.full((1, 1, 1, depth), 127, np.int8), quantization(1))
    total = 255 * 127 * depth
    bias = builder.constant("b", np.array([-total + 3], np.int32), quantization(1))
    out = builder.op(
        "CONV_2D", [at, weights, bias], (1, 1, 1, 1), quantization(1), padding="VALID", stride_h=1, stride_w=1
    )
    assert total > 1 << 24
    assert run(builder.build([out]), np.full((1, 1, 1, depth), 127, np.int8)).item() == 3


@pytest.mark.parametrize("operator", ["LOGISTIC", "TANH", "SOFTMAX", "HARD_SWISH", "LEAKY_RELU", "RELU6"])
def test_functions_are_within_a_step_of_the_real_ones(operator: str) -> None:
    functions = {
        "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
        "TANH": np.tanh,
        "SOFTMAX": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
        "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
        "LEAKY_RELU": lambda x: np.where(x < 0, 0.3 * x, x),
        "RELU6": lambda x: np.clip(x, 0, 6),
    }
    scale, zero = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "SOFTMAX": (1 / 256, -128)}.get(
        operator, (0.07, -20)
    )
    options: dict[str, Any] = {"SOFTMAX": {"beta": 1.0}, "LEAKY_RELU": {"alpha": 0.3}}.get(operator, {})
    x = np.arange(-128, 128).reshape(8, 32).astype(np.int8)
    builder = GraphBuilder()
    at = builder.input("x", x.shape, quantization(0.06, 9))
    found = run(builder.build([builder.op(operator, [at], x.shape, quantization(scale, zero), **options)]), x)
    expected = functions[operator](0.06 * (x.astype(float) - 9)) / scale + zero
    assert np.abs(found - np.clip(expected, -128, 127)).max() <= 1.02


def test_pooling_counts_only_what_lies_in_the_image() -> None:
    x = np.arange(1, 10).reshape(1, 3, 3, 1).astype(np.int8)
    options = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2, "padding": "SAME"}
    expected = {"AVERAGE_POOL_2D": [[3, 5], [8, 9]], "MAX_POOL_2D": [[5, 6], [8, 9]]}  # 4.5 and 7.5 away from zero
    for operator, values in expected.items():
        builder = GraphBuilder()
        at = builder.input("x", x.shape, quantization(1))
        found = run(builder.build([builder.op(operator, [at], (1, 2, 2, 1), quantization(1), **options)]), x)
        assert found[0, :, :, 0].tolist() == values
        if operator == "AVERAGE_POOL_2D":
            assert run(builder.build([len(builder.inputs)]), -x)[0, 0, 0, 0] == -3


@pytest.mark.parametrize("number", range(3 * len(MAKERS)))
def test_many_inputs_at_once_give_what_each_gives_alone(number: int) -> None:
    case = random_case(number)
    rng = np.random.default_rng(number)
    many = []
    for values in case.inputs:
        kinds = rng.integers(-128, 128, (3, *values.shape))
        many.append(kinds.astype(values.dtype))
    together = interpret(case.model, [np.concatenate(list(values)) for values in many])
    for place, result in enumerate(together):
        alone = [interpret(case.model, [values[turn] for values in many])[place] for turn in range(3)]
        assert np.array_equal(result, np.concatenate(alone))
        shape = case.model.graph.tensors[case.model.graph.outputs[place]].shape
        assert alone[0].shape == shape


def test_every_operator_of_the_interpreter_has_random_cases_or_is_a_plain_move() -> None:
    moves = {"EXPAND_DIMS", "SQUEEZE", "PACK", "UNPACK", "MIRROR_PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"}
    cases = (random_case(number).model.graph for number in range(12 * len(MAKERS)))
    made = {op.kind.removeprefix("tflite.") for graph in cases for op in graph.ops}
    assert made | moves | {"MAXIMUM", "MINIMUM"} == set(KERNELS)


def test_the_larger_and_the_smaller_need_one_quantization() -> None:
    a, b = np.array([[-5, 7, 9]], np.int8), np.array([[3, -2, 9]], np.int8)
    builder = GraphBuilder()
    ends = [builder.input(name, (1, 3), quantization(0.5, 1)) for name in "ab"]
    made = [builder.op(name, ends, (1, 3), quantization(0.5, 1)) for name in ("MAXIMUM", "MINIMUM")]
    larger, smaller = interpret(builder.build(made), [a, b])
    assert (larger.tolist(), smaller.tolist()) == ([[3, 7, 9]], [[-5, -2, 9]])
    wrong = builder.op("MAXIMUM", ends, (1, 3), quantization(0.6, 1))
    with pytest.raises(NetwrightError, match="Requantize it first"):
        interpret(builder.build([wrong]), [a, b])


def test_blocks_of_pixels_and_channels_are_inverse() -> None:
    x = np.arange(2 * 4 * 6 * 3).reshape(1, 8, 6, 3).astype(np.int8)
    builder = GraphBuilder()
    at = builder.input("x", x.shape, quantization(1))
    deep = builder.op("SPACE_TO_DEPTH", [at], (1, 4, 3, 12), quantization(1), block_size=2)
    flat = builder.op("DEPTH_TO_SPACE", [deep], x.shape, quantization(1), block_size=2)
    first, second = interpret(builder.build([deep, flat]), [x])
    assert first[0, 0, 0].tolist() == np.concatenate([x[0, 0, 0], x[0, 0, 1], x[0, 1, 0], x[0, 1, 1]]).tolist()
    assert np.array_equal(second, x)


def test_keep_returns_every_tensor() -> None:
    case = random_case(0)
    tensors = interpret(case.model, case.inputs, keep=True)
    assert len(tensors) == len(case.model.graph.tensors)
    assert tensors[case.model.graph.inputs[0]] is case.inputs[0]
    assert np.array_equal(tensors[case.model.graph.outputs[0]], interpret(case.model, case.inputs)[0])


def simple(operator: str, **options: Any) -> QuantizedGraph:
    builder = GraphBuilder()
    at = builder.input("x", (1, 4), quantization(1))
    return builder.build([builder.op(operator, [at], (1, 4), quantization(1), **options)])


def test_what_cannot_be_run_is_refused_by_name() -> None:
    x = np.zeros((1, 4), np.int8)
    with pytest.raises(NetwrightError, match="LSTM"):
        interpret(simple("LSTM"), [x])
    with pytest.raises(NetwrightError, match="takes 1 inputs"):
        interpret(simple("RELU"), [x, x])
    with pytest.raises(NetwrightError, match=r"\(1, 4\) is needed"):
        interpret(simple("RELU"), [np.zeros((1, 5), np.int8)])
    with pytest.raises(NetwrightError, match="int8 of shape"):
        interpret(simple("RELU"), [x.astype(np.float32)])
    with pytest.raises(NetwrightError, match="has no operand 1"):
        interpret(simple("ADD"), [x])
    with pytest.raises(NetwrightError, match="scale 1 and zero point 0 behind it"):
        interpret(simple("LOGISTIC"), [x])
