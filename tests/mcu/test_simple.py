"""Kernels of sums, pools, means, tables, softmax and moves: their C equals the interpreter, here and emulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.mcu.lower.lower import lower
from netwright.mcu.network import Add
from netwright.mcu.run.emulate import TOOLS, emulate
from netwright.mcu.run.host import build_host
from netwright.mcu.run.toolchain import missing
from tests.mcu import simple_cases as cases

MAKERS = {
    "sums": cases.sums,
    "pools": cases.pools,
    "means": cases.means,
    "functions": cases.functions,
    "moves": cases.moves,
    "resizes": cases.resizes,
    "matrices": cases.matrices,
}
needs_gcc = pytest.mark.skipif(bool(missing("gcc")), reason=missing("gcc") or "gcc is there")
needs_emulator = pytest.mark.skipif(bool(missing(*TOOLS)), reason=missing(*TOOLS) or "the tools are there")


@needs_gcc
@pytest.mark.parametrize("kind", MAKERS)
def test_portable_c_equals_the_interpreter_under_sanitizers(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(sorted(MAKERS).index(kind))
    model = MAKERS[kind](rng, 40)
    network = cases.write_c(model, tmp_path)
    inputs = cases.inputs_of(network, rng)
    found = build_host(tmp_path, sanitize=True, optimize="-O1").run(inputs)
    np.testing.assert_array_equal(found, cases.wanted(model, network, inputs))


@needs_emulator
@pytest.mark.parametrize("kind", MAKERS)
def test_c_with_the_dsp_extension_equals_the_interpreter(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(100 + sorted(MAKERS).index(kind))
    model = MAKERS[kind](rng, 24)
    network = cases.write_c(model, tmp_path)
    inputs = cases.inputs_of(network, rng)
    found = emulate(tmp_path, inputs, cpu="cortex-m4").outputs
    np.testing.assert_array_equal(found, cases.wanted(model, network, inputs))


def test_linear_sums_are_those_of_the_reference_on_every_pair() -> None:
    """The proof's own arithmetic, once more in plain integers; few sums have no linear function."""
    rng = np.random.default_rng(7)
    layers = [layer for layer in lower(cases.sums(rng, 60)).layers if isinstance(layer, Add)]
    values = np.arange(-128, 128, dtype=np.int64)
    found = 0
    for layer in layers:
        if (one := layer.linear) is None:
            continue
        found += 1
        sums = (values[:, None] * one.first + values * one.second + one.constant) // (1 << 28)
        np.testing.assert_array_equal(np.clip(sums, layer.low, layer.high), layer.reference())
    assert found >= 0.6 * len(layers)
