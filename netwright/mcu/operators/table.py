"""The int8 operators that are compiled: each a file and a row here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.tables import Table, is_own, load_own
from netwright.graph.integers.call import Call
from netwright.graph.integers.interpret import KERNELS
from netwright.mcu.operators.operator import Operator

_HERE = "netwright.mcu.operators"
OPERATORS: Table[Operator] = Table(
    "Operator",
    {
        "add": f"{_HERE}.add:OPERATOR",
        "batch_matmul": f"{_HERE}.batch_matmul:OPERATOR",
        "conv": f"{_HERE}.convolutions:CONV",
        "dense": f"{_HERE}.dense:OPERATOR",
        "depthwise": f"{_HERE}.convolutions:DEPTHWISE",
        "dequantize": f"{_HERE}.ends:DEQUANTIZE",
        "extreme": f"{_HERE}.extremes:OPERATOR",
        "lookup": f"{_HERE}.lookup:OPERATOR",
        "mean": f"{_HERE}.mean:OPERATOR",
        "move": f"{_HERE}.move:OPERATOR",
        "multiply": f"{_HERE}.multiply:OPERATOR",
        "pad": f"{_HERE}.views:PAD",
        "pool": f"{_HERE}.pool:OPERATOR",
        "prelu": f"{_HERE}.prelu:OPERATOR",
        "quantize": f"{_HERE}.ends:QUANTIZE",
        "reduce_extreme": f"{_HERE}.reduce_extremes:OPERATOR",
        "resize": f"{_HERE}.resize:OPERATOR",
        "softmax": f"{_HERE}.softmax:OPERATOR",
        "squared_difference": f"{_HERE}.squared_difference:OPERATOR",
        "transpose": f"{_HERE}.views:TRANSPOSE",
        "transpose_conv": f"{_HERE}.transpose_conv:OPERATOR",
        "view": f"{_HERE}.views:VIEW",
    },
    "netwright.mcu.operators.operator:Operator",
)
Given = str | Operator  # a FILE.py:NAME, or the operator itself


def own_operators(given: Given | Iterable[Given] | Mapping[str, Operator] | None) -> tuple[Operator, ...]:
    """Return operators of one's own, given as one, as several, or as FILE.py:NAME of one or of several.

    Raises:
        NetwrightError: no such file or name, or something that is no operator.
    """
    if given is None:
        return ()
    found = load_own(given) if isinstance(given, str) and is_own(given) else given
    if isinstance(found, str | Operator) or not isinstance(found, Iterable):
        return (OPERATORS.find(found),)
    several = found.values() if isinstance(found, Mapping) else found
    return tuple(operator for one in several for operator in own_operators(one))


def by_name(own: Iterable[Operator] = ()) -> dict[str, Operator]:
    """Return all operators by TensorFlow Lite's names; one's own take the place of netwright's.

    Raises:
        NetwrightError: an operator whose arithmetic is not known.
    """
    found = {name: operator for operator in (*OPERATORS.values(), *own) for name in operator.names}
    lost = sorted(name for name, operator in found.items() if operator.compute is None and name not in KERNELS)
    if lost:
        raise NetwrightError(
            f"The arithmetic of operator {lost[0]} is not known: give its `compute`, a function from a Call to an array."
        )
    return found


def arithmetic(operators: Mapping[str, Operator]) -> dict[str, Callable[[Call], Any]]:
    """Return the function of each operator by name: the interpreter's, where the operator brings none."""
    return {name: operator.compute or KERNELS[name] for name, operator in operators.items()}
