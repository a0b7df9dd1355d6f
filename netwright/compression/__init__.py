"""Making networks small: from PyTorch to integers. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.compression.quantization.post_training import quantize, to_integers
    from netwright.compression.quantization.qat import quantize_aware
    from netwright.compression.quantization.qdq import write_qdq

__all__ = ["quantize", "quantize_aware", "to_integers", "write_qdq"]

_WHERE = {
    "quantize": "quantization.post_training",
    "quantize_aware": "quantization.qat",
    "to_integers": "quantization.post_training",
    "write_qdq": "quantization.qdq",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"netwright.compression.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'netwright.compression' has no attribute {name!r}")
