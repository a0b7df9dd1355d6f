"""Flash that a generated network takes: measured by the cross-compiler, or predicted where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netwright.mcu.emit.emit import GeneratedFiles
from netwright.mcu.run.emulate import BOARDS, flash_of

# Bytes of code by kernel header, arm-none-eabi-gcc 12.2 -O2 for Cortex-M7: means of what benchmarks/mcu_code.py measured.
CODE_BYTES = {
    "nw_add.h": 317,
    "nw_conv.h": 2360,
    "nw_depthwise.h": 2654,
    "nw_depthwise_dsp.h": 3042,
    "nw_matrix_dsp.h": 4986,
    "nw_mean.h": 646,
    "nw_pointwise.h": 339,
    "nw_pool.h": 185,
    "nw_softmax.h": 739,
    "nw_tiles.h": 872,
    "nw_widen.h": 134,
}
# Next to no function of their own is left of these.
INLINED = {"nw_matrix.h", "nw_requant.h", "nw_rows.h", "nw_scale.h", "nw_sum.h"}
OTHER_KERNEL_BYTES = 500  # those that none of the measured networks uses
CALL_BYTES = 48  # a layer
STRUCT_BYTES = 40

_BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "double": 8}
_ARRAY = re.compile(rf"^static (?:const )?({'|'.join(_BYTES)}) \w+\[(\d+)\]", re.MULTILINE)
_STRUCT = re.compile(r"^static const nw_\w+ \w+ =", re.MULTILINE)


@dataclass(frozen=True)
class Sizes:
    """Bytes of code, of constants (all that is in net_data.h), and of both; `origin`: measured or predicted."""

    code_bytes: int
    constant_bytes: int
    origin: str

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes


def measured_sizes(elf: Path, cpu: str) -> Sizes:
    """Return the sizes of a program of `build_elf` as the linker gives them, library functions included."""
    code, flash = flash_of(elf)
    return Sizes(code, flash - code, f"measured: arm-none-eabi-gcc -O2, {BOARDS[cpu].flags[0]}")


def predicted_sizes(source: GeneratedFiles, layers: int) -> Sizes:
    """Return the sizes of a source: constants counted in its text, code from what its kernels took elsewhere."""
    text = source.files["net_data.h"]
    constants = sum(_BYTES[kind] * int(count) for kind, count in _ARRAY.findall(text))
    constants += STRUCT_BYTES * len(_STRUCT.findall(text))
    return Sizes(predicted_code_bytes(source.kernels, layers), constants, "predicted: no cross-compiler here")


def predicted_code_bytes(kernels: Iterable[str], layers: int) -> int:
    """Return about how many bytes the code of a network takes."""
    return CALL_BYTES * layers + sum(CODE_BYTES.get(name, OTHER_KERNEL_BYTES) for name in set(kernels) - INLINED)
