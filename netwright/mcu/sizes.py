"""Flash that a generated network takes: measured by the cross-compiler, or predicted where there is none."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netwright.mcu.emit import Source
from netwright.mcu.emulate import BOARDS, TOOLS, build_elf, flash_of
from netwright.mcu.toolchain import missing

# Bytes of code by kernel header, arm-none-eabi-gcc 12.2 -O2 for Cortex-M7: what `benchmarks/mcu_code.py` measured, on average.
# A call and the constants beside the arrays take some bytes a layer.
CODE_BYTES = {"nw_conv.h": 2600, "nw_pointwise.h": 1500, "nw_depthwise.h": 2600, "nw_dense.h": 700, "nw_add.h": 600}
OTHER_KERNEL_BYTES = 600
CALL_BYTES = 24
STRUCT_BYTES = 40

_ARRAY = re.compile(r"^static (?:const )?u?int(8|16|32)_t \w+\[(\d+)\]", re.MULTILINE)
_STRUCT = re.compile(r"^static const nw_\w+ \w+ =", re.MULTILINE)


@dataclass(frozen=True)
class Sizes:
    """Bytes of code, of constants (weights and what else is in net_data.h), and of both; `origin`: measured or predicted."""

    code_bytes: int
    constant_bytes: int
    origin: str

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes


def measured_sizes(directory: Path, cpu: str) -> Sizes | None:
    """Return the sizes that the linker gives, library functions included; None without a cross-compiler."""
    if missing(*TOOLS):
        return None
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        code, flash = flash_of(build_elf(directory, cpu=cpu, folder=Path(folder)))
    return Sizes(code, flash - code, f"measured: arm-none-eabi-gcc -O2, {BOARDS[cpu].flags[0]}")


def predicted_sizes(source: Source, layers: int) -> Sizes:
    """Return the sizes of a source: constants counted in its text, code from what its kernels took elsewhere."""
    text = source.files["net_data.h"]
    constants = sum(int(bits) // 8 * int(count) for bits, count in _ARRAY.findall(text))
    constants += STRUCT_BYTES * len(_STRUCT.findall(text))
    return Sizes(predicted_code_bytes(source.kernels, layers), constants, "predicted: no cross-compiler here")


def predicted_code_bytes(kernels: Iterable[str], layers: int) -> int:
    """Return about how many bytes the code of a network takes."""
    return CALL_BYTES * layers + sum(CODE_BYTES.get(kernel, OTHER_KERNEL_BYTES) for kernel in kernels)
