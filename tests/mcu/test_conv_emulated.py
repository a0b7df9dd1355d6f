"""The convolutions' fast paths on emulated processors: bit for bit what their definition gives, as on any machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from netwright.mcu.run.emulate import emulate
from tests.mcu import conv_cases
from tests.mcu.conv_cases import KERNELS, program, wanted
from tests.mcu.toy import HEADER, emulated

FAMILIES = {
    "conv": conv_cases.random_conv,
    "pointwise": conv_cases.random_pointwise,
    "dense": conv_cases.random_dense,
    "depthwise": conv_cases.random_depthwise,
}
INVOKE = """
#include "net.h"
static int8_t input_byte;
int8_t *net_input(void) { return &input_byte; }
void net_invoke(const int8_t *input, int8_t *output) { (void)input; run(output); }
"""


def write_cases(folder: Path, cases: list[conv_cases.Case]) -> Path:
    """Write the cases as a network that takes one byte and gives all their outputs."""
    for header in KERNELS.glob("nw_*.h"):
        shutil.copy(header, folder)
    (folder / "net.h").write_text(HEADER.format(inputs=1, outputs=len(wanted(cases)), arena=1))
    (folder / "net.c").write_text(program(cases) + INVOKE)
    return folder


@emulated
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("cpu", "optimize"), [("cortex-m7", "-O2"), ("cortex-m4", "-O1"), ("cortex-m55", "-O3")])
def test_random_layers_are_bit_exact(family: str, cpu: str, optimize: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([len(cpu), len(family)])
    cases = [FAMILIES[family](rng) for _ in range(6)]
    folder = write_cases(tmp_path, cases)
    done = emulate(folder, np.zeros((1, 1), np.int8), cpu=cpu, optimize=optimize)
    np.testing.assert_array_equal(done.outputs[0], wanted(cases))
