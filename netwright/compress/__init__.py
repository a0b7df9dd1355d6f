"""Making networks small: from PyTorch to integers. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.compress.post_training import quantize, to_integers
    from netwright.compress.qat import quantize_aware
    from netwright.compress.qdq import write_qdq

__all__ = ["quantize", "quantize_aware", "to_integers", "write_qdq"]

_WHERE = {"quantize": "post_training", "quantize_aware": "qat", "to_integers": "post_training", "write_qdq": "qdq"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"netwright.compress.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'netwright.compress' has no attribute {name!r}")
