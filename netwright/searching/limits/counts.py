"""Limits on what is counted: multiply-accumulates and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.units import COUNT
from netwright.searching.limits.kind import Asked, LimitKind

if TYPE_CHECKING:
    from netwright.searching.tables import AdditiveTable


def macs_table(asked: Asked) -> AdditiveTable:
    """Return the multiply-accumulates of one inference, batch 1."""
    from netwright.searching.tables import macs_price

    return asked.additive(macs_price)


def params_table(asked: Asked) -> AdditiveTable:
    """Return the number of parameters."""
    from netwright.searching.tables import params_price

    return asked.additive(params_price)


MACS = LimitKind("macs", "macs", "MACs", COUNT, macs_table, short=(1e6, "M MACs"), rank=1)
PARAMS = LimitKind("params", "params", "parameters", COUNT, params_table, short=(1e6, "M parameters"), rank=2)
