"""The options of a TensorFlow Lite operator, read from a file by the schema's tables."""

from __future__ import annotations

from typing import Any

from netwright.graph.files.flatbuffer import Table
from netwright.graph.integers.schema import ENUMS, OPTIONS, OPTIONS_2, UNION_OF, option_fields

# What strides, dilations and windows must at least be for an output size to exist.
_AT_LEAST_ONE = ("stride_", "dilation_", "filter_", "block_size")


def read_options(operator: str, given: dict[int, tuple[int, Table | None]]) -> dict[str, Any]:
    """Return an operator's options by name, defaults where the file leaves them out.

    Args:
        operator: its name.
        given: by union (1 and 2), the number of the options' table and the table.

    Raises:
        ValueError: the options are another operator's, or hold a value that no program writes.
    """
    union, number = UNION_OF.get(operator, (1, 0))
    for other, (found, _) in given.items():
        if found and (other, found) != (union, number) and found in (OPTIONS if other == 1 else OPTIONS_2):
            raise ValueError(f"carries options of {(OPTIONS if other == 1 else OPTIONS_2)[found][0]}")
    if not number:
        return {}
    found, table = given[union]
    values: dict[str, Any] = {}
    for place, name, kind, default in option_fields(operator):
        values[name] = _value(table if found == number else None, place, kind, default)
        if name.startswith(_AT_LEAST_ONE) and values[name] < 1:
            raise ValueError(f"has {name} {values[name]}, at least 1 is needed")
    return values


def _value(table: Table | None, place: int, kind: str, default: int) -> Any:
    if kind in ENUMS:
        number = table.integer(place, "int32" if kind == "Reduction" else "int8", default) if table else default
        if not 0 <= number < len(ENUMS[kind]):
            raise ValueError(f"has no {kind.lower()} number {number}")
        return ENUMS[kind][number]
    if kind == "text":
        return table.text(place) if table else ""
    if kind.endswith("s"):
        return tuple(table.vector(place, kind[:-1]).tolist()) if table else ()
    if table is None:
        return default
    return table.scalar(place, kind, default)
