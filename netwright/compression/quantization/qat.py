"""Quantization-aware training: a surgery, soft targets from the network in float, and the integers at the end."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from torch import nn

from netwright.compression.quantization.fake_quantization import FakeQuantization, FakeQuantized
from netwright.compression.quantization.observers import ObserverName
from netwright.compression.surgery import SURGERIES, changes_of
from netwright.core.errors import NetwrightError
from netwright.core.files import write_json
from netwright.core.run import Run
from netwright.data import Dataset
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.training.loop import train_network
from netwright.training.recipe import Recipe

SURGERY = "fake-quantization"


def quantization_aware(**fields: Any) -> Recipe:
    """Return the recipe: a few epochs at a low rate, half of the loss from the network before it was quantized.

    Its changes hold the surgery "fake-quantization"; what it leaves open, `quantize_aware` fills in.
    """
    defaults = {"method": "static", "epochs": 3.0, "learning_rate": 0.005, "distillation_weight": 0.5}
    return Recipe(
        **{**defaults, "warmup_epochs": 0.2, "evaluate_every": 0.0, "changes": ({"surgery": SURGERY},), **fields}
    )


def quantize_aware(
    module: nn.Module,
    dataset: Dataset,
    recipe: Recipe | None = None,
    *,
    resolution: int,
    observer: ObserverName = "mse",
    teacher: nn.Module | None = None,
    run: Run | None = None,
) -> QuantizedGraph:
    """Return a trained module in integers, after training it further with fake quantization; the module stays as is.

    Args:
        module: takes images x_BCHW of the data set, normalized; see `quantize` for what it may hold.
        recipe: of method static; without one, `quantization_aware()`. Its changes are made in order; where they lack the
            surgery "fake-quantization", it is the last. Its calibration_images choose the ranges.
        observer: where the recipe's surgery names none.
        teacher: sees the same batches; without one, the module itself teaches, in float.
        run: where records and checkpoints go, and what the surgery changed (changes.json).

    Raises:
        NetwrightError: as `quantize` and `train_network`; the module fixes its batch size.
    """
    recipe = _completed(recipe or quantization_aware(), observer)
    changes = changes_of(recipe.changes)
    if teacher is None and (recipe.distillation_weight or any("objective" in change for change in recipe.changes)):
        teacher = copy.deepcopy(module).eval()
    student = train_network(
        copy.deepcopy(module), dataset, recipe, resolution=resolution, run=run, teacher=teacher, changes=changes
    )
    if not isinstance(student, FakeQuantized):
        raise NetwrightError(
            f"Surgery after {SURGERY!r} leaves no integers to make. Let it be the recipe's last surgery."
        )
    if run:
        write_json(
            run.path / "changes.json", [{**change} for change in recipe.changes] + [{"changed": student.changed}]
        )
    return student.finish()


def _completed(recipe: Recipe, observer: ObserverName) -> Recipe:
    """Return the recipe with the surgery in its changes, and the surgery's arguments stated."""
    changes = [dict(change) for change in recipe.changes]
    if not any(_is_quantization(change) for change in changes):
        changes.append({"surgery": SURGERY})
    open_arguments = {"observer": observer, "images": recipe.calibration_images}
    filled = [
        {**change, **({} if not _is_quantization(change) else {**open_arguments, **change})} for change in changes
    ]
    return dataclasses.replace(recipe, changes=tuple(filled))


def _is_quantization(change: dict[str, Any]) -> bool:
    given = change.get("surgery")
    return given is not None and SURGERIES.find(given) is FakeQuantization
