"""The bound above which sums of products are refused: exactly 32 bits, neither more nor less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.lower import lower
from netwright.mcu.run.host import build_host
from netwright.mcu.schedule.schedule import schedule

HIGHEST = (1 << 31) - 1
STEP = 24  # an output step is 2**24 of the sums


def pointwise(weights: list[int], bias: int, zero_point: int) -> QuantizedGraph:
    """One pixel in, one number out: (bias + sum of weights x (x - zero point)) / 2**24 - 100."""
    build = GraphBuilder()
    x = build.input("x", (1, 1, 1, len(weights)), quantization(1.0, zero_point))
    w = build.constant("w", np.array(weights, np.int8).reshape(1, 1, 1, -1), quantization([1.0], 0, 0))
    b = build.constant("b", np.array([bias], np.int32), quantization([1.0], 0, 0))
    options = {"stride_h": 1, "stride_w": 1, "padding": "VALID"}
    return build.build([build.op("CONV_2D", [x, w, b], (1, 1, 1, 1), quantization(2.0**STEP, -100), **options)])


def reach(weights: list[int], bias: int, zero_point: int) -> int:
    """Return the largest that sums come to in any order: folded bias and 256 times each weight."""
    return abs(bias - zero_point * sum(weights)) + 256 * sum(map(abs, weights))


@pytest.mark.parametrize("zero_point", [0, -128, 127])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weights", [[127, -127, 127, 127], [127, 127, -3, 1], [-1, -1, -1, -1]])
def test_sums_up_to_the_last_number_of_32_bits_are_compiled_and_right(
    tmp_path: Path, weights: list[int], sign: int, zero_point: int
) -> None:
    folded = sign * (HIGHEST - 256 * sum(map(abs, weights)))
    bias = folded + zero_point * sum(weights)
    assert -(1 << 31) <= bias <= HIGHEST
    assert reach(weights, bias, zero_point) == HIGHEST
    network = lower(pointwise(weights, bias, zero_point))
    rng = np.random.default_rng(0)
    x = rng.choice(np.array([-128, 127], np.int8), (64, len(weights)))
    emit(network, schedule(network)).write(tmp_path / "net")
    found = build_host(tmp_path / "net", sanitize=True).run(x)[:, 0]
    sums = bias + (x.astype(np.int64) - zero_point) @ np.array(weights, np.int64)
    assert abs(sums).max() <= HIGHEST
    real = sums.astype(np.float64) / 2**STEP
    assert (abs(real - np.floor(real) - 0.5) > 1e-3).all(), "no ties, which are rounded in their own way"
    np.testing.assert_array_equal(found, np.clip(np.rint(real) - 100, -128, 127))


@pytest.mark.parametrize("zero_point", [0, -128, 127])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weights", [[127, -127, 127, 127], [127, 127, -3, 1]])
def test_one_more_is_refused(weights: list[int], sign: int, zero_point: int) -> None:
    bias = sign * (HIGHEST - 256 * sum(map(abs, weights)) + 1) + zero_point * sum(weights)
    assert reach(weights, bias, zero_point) == HIGHEST + 1
    with pytest.raises(NetwrightError, match=r"its sums may reach 2,147,483,648, beyond 32 bits"):
        lower(pointwise(weights, bias, zero_point))
