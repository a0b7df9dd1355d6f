"""The static list of operations of a network, and what reads and plans it. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.graph.capture.trace import capture
    from netwright.graph.files.read import read_graph
    from netwright.graph.graph import Graph

__all__ = ["Graph", "capture", "read_graph"]

_WHERE = {
    "Graph": "netwright.graph.graph",
    "capture": "netwright.graph.capture.trace",
    "read_graph": "netwright.graph.files.read",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'netwright.graph' has no attribute {name!r}")
