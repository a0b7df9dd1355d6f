"""What one operation and one memory access cost in energy, by semiconductor process, from the literature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyTable:
    """Picojoules of an addition and of a multiplication by type, and of a 32-bit access on and off the chip.

    The operations alone: instructions, control and what the rest of a chip draws are not in them.
    """

    add: Mapping[str, float]
    multiply: Mapping[str, float]
    sram_32bit: float
    dram_32bit: float
    citation: str

    def addition(self, dtype: str) -> float:
        """Return the picojoules of one addition."""
        return self.add[_nearest(dtype, self.add)]

    def mac(self, dtype: str) -> float:
        """Return the picojoules of one multiply-accumulate; integers accumulate in 32 bits."""
        product = self.multiply[_nearest(dtype, self.multiply)]
        return product + self.addition("int32" if _is_integer(dtype) else dtype)


def _is_integer(dtype: str) -> bool:
    return "int" in dtype or dtype == "bool"


def _nearest(dtype: str, known: Mapping[str, float]) -> str:
    """Return a type that a table has: the next wider one of its sort, or the widest."""
    if dtype in known:
        return dtype
    if not _is_integer(dtype):
        return "float16" if dtype in ("bfloat16", "float8_e4m3fn", "float8_e5m2") else "float32"
    return "int8" if dtype in ("uint8", "qint8", "quint8", "bool") else "int32"


HOROWITZ_45NM = EnergyTable(
    add={"int8": 0.03, "int32": 0.1, "float16": 0.4, "float32": 0.9},
    multiply={"int8": 0.2, "int32": 3.1, "float16": 1.1, "float32": 3.7},
    sram_32bit=5.0,
    dram_32bit=640.0,
    citation="Horowitz 2014, Computing's energy problem, ISSCC: 45 nm, 0.9 V; SRAM of 8 KB",
)

_JOUPPI = "Jouppi et al. 2021, Ten lessons from three generations shaped Google's TPUv4i, ISCA, Table 2: 7 nm"
_ADD_7NM = {"int8": 0.007, "int32": 0.03, "bfloat16": 0.11, "float16": 0.16, "float32": 0.38}
_MULTIPLY_7NM = {"int8": 0.07, "int32": 1.48, "bfloat16": 0.21, "float16": 0.34, "float32": 1.31}

JOUPPI_7NM_DDR = EnergyTable(
    add=_ADD_7NM,
    multiply=_MULTIPLY_7NM,
    sram_32bit=7.0,
    dram_32bit=650.0,
    citation=f"{_JOUPPI}; SRAM of 1 MB (14 pJ for 64 bits); DDR memory (1,300 pJ for 64 bits)",
)
JOUPPI_7NM_HBM = EnergyTable(
    add=_ADD_7NM,
    multiply=_MULTIPLY_7NM,
    sram_32bit=7.0,
    dram_32bit=175.0,
    citation=f"{_JOUPPI}; SRAM of 1 MB (14 pJ for 64 bits); HBM2 (250 to 450 pJ for 64 bits, the middle)",
)
