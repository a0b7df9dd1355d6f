"""Convolutions, depthwise convolutions and dense layers as C, bit for bit what their definition gives."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.mcu import conv_cases
from tests.mcu.conv_cases import KERNELS, Case, program, wanted

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
FAMILIES = {
    "conv": conv_cases.random_conv,
    "pointwise": conv_cases.random_pointwise,
    "dense": conv_cases.random_dense,
    "depthwise": conv_cases.random_depthwise,
}


def run_on_host(cases: list[Case], folder: Path) -> NDArray[np.int8]:
    source, library = folder / "cases.c", folder / "cases.so"
    source.write_text(program(cases))
    subprocess.run(
        ["gcc", *WARNINGS, "-O1", "-shared", "-fPIC", f"-I{KERNELS}", str(source), "-o", str(library)], check=True
    )
    out = np.zeros(len(wanted(cases)), np.int8)
    ctypes.CDLL(str(library)).run(out.ctypes.data_as(ctypes.c_void_p))
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_random_layers_are_bit_exact(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    cases = [FAMILIES[family](rng) for _ in range(60)]
    np.testing.assert_array_equal(run_on_host(cases, tmp_path), wanted(cases))
