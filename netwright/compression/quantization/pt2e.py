"""What is used of torchao's PT2E, imported without the line that torch logs about one of torchao's enumerations."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from netwright.core.torch_internals import PYTREE_LOGGER


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back warnings of the logger to which torch 2.15 reports, at import, a registration that works."""
    logger = logging.getLogger(PYTREE_LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


with _quiet():
    from torchao.quantization.pt2e import FakeQuantize, FixedQParamsFakeQuantize
    from torchao.quantization.pt2e.observer import (
        MinMaxObserver,
        PerChannelMinMaxObserver,
        UniformQuantizationObserverBase,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer import (
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
        SharedQuantizationSpec,
    )

__all__ = [
    "FakeQuantize",
    "FixedQParamsFakeQuantize",
    "FixedQParamsQuantizationSpec",
    "MinMaxObserver",
    "PerChannelMinMaxObserver",
    "QuantizationAnnotation",
    "QuantizationSpec",
    "Quantizer",
    "SharedQuantizationSpec",
    "UniformQuantizationObserverBase",
    "convert_pt2e",
    "prepare_pt2e",
    "prepare_qat_pt2e",
]
