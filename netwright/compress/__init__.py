"""Making networks small: from PyTorch to integers. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.compress.qat import quantize_aware
    from netwright.compress.quantize import quantize

__all__ = ["quantize", "quantize_aware"]

_WHERE = {"quantize": "quantize", "quantize_aware": "qat"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"netwright.compress.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'netwright.compress' has no attribute {name!r}")
