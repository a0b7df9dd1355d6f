"""Numbers with units, as people type them: 2ms, 20M, 320KB."""

from __future__ import annotations

import math
import re

from netwright.core.errors import NetwrightError

TIME_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
DURATION_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
ENERGY_MJ = {"nJ": 1e-6, "uJ": 1e-3, "mJ": 1.0, "J": 1e3}
COUNT = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
BYTES = {"B": 1.0, "KB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3}

_NUMBER = re.compile(r"\s*([0-9.eE+-]*[0-9.])\s*([A-Za-z]*)\s*")


def parse_quantity(text: str, units: dict[str, float], name: str) -> float:
    """Read a positive number with one of `units` (case is ignored) into the unit whose factor is 1.

    Raises:
        NetwrightError: not a number, not positive, or a unit that is not listed.
    """
    allowed = ", ".join(unit or "no unit" for unit in units)
    match = _NUMBER.fullmatch(text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    if match is None or not math.isfinite(value):
        raise NetwrightError(f"{name}: {text!r} is not a number with a unit. Units: {allowed}.")
    factors = {unit.lower(): factor for unit, factor in units.items()}
    if match[2].lower() not in factors:
        unit = f"unit {match[2]!r}" if match[2] else "a number without unit"
        raise NetwrightError(f"{name}: {unit} in {text!r} is not allowed. Units: {allowed}.")
    if value <= 0:
        raise NetwrightError(f"{name}: a limit must be greater than zero, not {text!r}.")
    return value * factors[match[2].lower()]


def rounded_up(value: float, digits: int = 4) -> float:
    """Return a number of so many significant digits that is not below a value greater than 0, the next one at most."""
    if not 0 < value < math.inf or float(f"{value:.{digits}g}") >= value:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{value + step / 2:.{digits}g}")
