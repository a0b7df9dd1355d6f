"""Operators that are functions of one int8 value: their lowering rule, which makes a table."""

from __future__ import annotations

from netwright.graph.graph import Op
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.tables import Lookup, becomes_table


def lower(work: Lowering, op: Op) -> None:
    """Any function of one int8 value, and of constants that are a single number."""
    if not becomes_table(work, op):
        raise work.refuse(
            op, "it is no function of one value", "Sums, products and functions of one value are compiled."
        )


OPERATOR = Operator(
    (
        "ABS",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "NEG",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RSQRT",
        "TANH",
    ),
    lower,
    Lookup,
)
