"""Each kernel by itself, as every compiler optimizes it: alone in a network, its constants are known, and code is moulded to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.mcu_cases import MAKERS, random_case
from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.compile import compile_network
from netwright.mcu.lower.lower import lower
from netwright.mcu.run.host import build_host
from tests.mcu.simple_cases import inputs_of, wanted, write_c
from tests.mcu.toy import compiled_with

LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os")
COMPILERS = [pytest.param(name, marks=compiled_with(name)) for name in ("gcc", "clang")]


def mean_of(shape: tuple[int, ...], axes: list[int]) -> QuantizedGraph:
    build = GraphBuilder()
    x = build.input("x", shape, quantization(0.02, 3))
    left = tuple(1 if axis in axes else side for axis, side in enumerate(shape))
    where = build.constant("axes", np.array(axes, np.int32))
    return build.build([build.op("MEAN", [x, where], left, quantization(0.02, 1), keep_dims=True)])


@compiled_with("gcc")
def test_a_mean_of_eight_channels_is_written_at_all(tmp_path: Path) -> None:
    """gcc 12.2 at -O2 left the call out: it had joined the pointers of input and output, whose places it knew."""
    compiled = compile_network(mean_of((1, 8, 8, 8), [3]), tmp_path / "net")
    assert compiled.proven.startswith("equal to the interpreter")


@compiled_with("gcc")
@pytest.mark.parametrize("count", [4, 7, 8, 16, 32])
def test_means_of_so_many_values_along_any_axis(count: int, tmp_path: Path) -> None:
    for number, shape in enumerate([(1, 8, 8, count), (1, 8, count, 1), (1, count, 8, 1), (1, count, 3, 4)]):
        axes = [axis for axis, side in enumerate(shape) if side == count][-1:]
        compile_network(mean_of(shape, axes), tmp_path / str(number))


def some_cases(operator: str, count: int) -> list[QuantizedGraph]:
    found, turn = [], 0
    while len(found) < count:
        model = random_case(list(MAKERS).index(operator) + (9000 + turn) * len(MAKERS)).model
        turn += 1
        try:
            lower(model)
        except NetwrightError:
            continue
        found.append(model)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("optimize", LEVELS)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("operator", MAKERS)
def test_a_kernel_alone_is_the_same_at_every_level(operator: str, compiler: str, optimize: str, tmp_path: Path) -> None:
    for number, model in enumerate(some_cases(operator, 3)):
        folder = tmp_path / str(number)
        network = write_c(model, folder)
        inputs = inputs_of(network, np.random.default_rng(number), 4)
        found = build_host(folder, compiler=compiler, optimize=optimize).run(inputs)
        np.testing.assert_array_equal(found, wanted(model, network, inputs), err_msg=f"case {number}")
