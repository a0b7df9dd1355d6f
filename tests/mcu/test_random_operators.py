"""Random operators of every kind, with extreme scales, as C: on this machine under sanitizers, and emulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.mcu_cases import MAKERS, bundle, random_case
from benchmarks.mcu_exact import side_by_side
from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.border import as_bytes, as_tensors
from netwright.mcu.lower.lower import lower
from netwright.mcu.run.emulate import TOOLS, emulate
from netwright.mcu.run.host import build_host
from netwright.mcu.run.toolchain import missing


def compilable(first: int, count: int) -> list[QuantizedGraph]:
    found = []
    for number in range(first, first + count):
        model = random_case(number).model
        try:
            lower(model)
        except NetwrightError as error:
            if "cannot be compiled" not in str(error) and "too small for the input's" not in str(error):
                raise
            continue
        found.append(model)
    return found


@pytest.mark.parametrize(
    ("first", "where"), [(100_000, "here"), pytest.param(200_000, "cortex-m7"), pytest.param(300_000, "cortex-m4")]
)
def test_random_operators_in_c_equal_the_interpreter(tmp_path: Path, first: int, where: str) -> None:
    if where != "here" and (reason := missing(*TOOLS)):
        pytest.skip(f"emulation: {reason}")
    models = compilable(first, 2 * len(MAKERS))
    assert len(models) > 1.8 * len(MAKERS)
    model = bundle(models)
    network = lower(model)
    size = sum(network.values[value].bytes for value in network.inputs)
    rng = np.random.default_rng(first)
    inputs = rng.integers(-128, 128, (3, size)).astype(np.int8)
    inputs[1] = rng.choice(np.array([-128, 127], np.int8), size)
    emit(network, side_by_side(network)).write(tmp_path / "net")
    if where == "here":
        outputs = build_host(tmp_path / "net", sanitize=True, optimize="-O1").run(inputs)
    else:
        outputs = emulate(tmp_path / "net", inputs, cpu=where).outputs
    for row, found in zip(inputs, outputs, strict=True):
        expected = as_bytes(model, network, interpret_alone(model, as_tensors(model, network, row[None])))
        np.testing.assert_array_equal(found, expected[0])


def test_dense_layers_round_once_and_ties_away_from_zero(tmp_path: Path) -> None:
    """Unlike convolutions: 0.25 x 1 is 0 here, 1 there. Scales that are powers of two make every other result a tie."""
    builder = GraphBuilder()
    at = builder.input("x", (1, 1), quantization(1.0))
    weights = builder.constant("w", np.ones((3, 1), np.int8), quantization([0.5, 0.25, 0.125], 0, 0))
    model = builder.build([builder.op("FULLY_CONNECTED", [at, weights], (1, 3), quantization(1.0))])
    x = np.arange(-128, 128).astype(np.int8)[:, None]
    network = lower(model)
    emit(network, side_by_side(network)).write(tmp_path / "net")
    real = x * np.array([0.5, 0.25, 0.125])
    expected = np.copysign(np.floor(np.abs(real) + 0.5), real)
    np.testing.assert_array_equal(build_host(tmp_path / "net").run(x), expected)
    np.testing.assert_array_equal(interpret(model, [x])[0], expected)


def test_dense_layers_whose_results_may_leave_32_bits_are_refused() -> None:
    builder = GraphBuilder()
    at = builder.input("x", (1, 100), quantization(1.0))
    weights = builder.constant("w", np.full((1, 100), 127, np.int8), quantization(4000.0))
    model = builder.build([builder.op("FULLY_CONNECTED", [at, weights], (1, 1), quantization(1.0))])
    with pytest.raises(NetwrightError, match="may leave 32 bits"):
        lower(model)


def interpret_alone(model: QuantizedGraph, tensors: list[np.ndarray]) -> list[np.ndarray]:
    return [values.reshape(1, -1) for values in interpret(model, tensors)]
