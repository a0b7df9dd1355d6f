"""Look an operation up in the table of traits."""

from __future__ import annotations

from collections.abc import Mapping

from netwright.graph.operations import aten, onnx, others, tflite
from netwright.graph.operations.traits import UNKNOWN, Traits

TABLE: Mapping[str, Traits] = {**aten.TRAITS, **onnx.TRAITS, **tflite.TRAITS, **others.TRAITS}


def traits_of(kind: str, own: Mapping[str, Traits] | None = None) -> Traits:
    """Return the traits of a kind of operation, "aten.relu_" for example; `own` is asked first.

    An in-place operation has the row of the name without underscore.
    """
    for table in (own or {}, TABLE):
        found = table.get(kind) or table.get(kind.rstrip("_"))
        if found is not None:
            return found
    return UNKNOWN


def known_as(name: str) -> str:
    """Return the kind that a graph gives an operation which torch calls "my::op"."""
    return name.replace("::", ".")
