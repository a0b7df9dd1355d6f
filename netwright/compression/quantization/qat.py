"""Quantization-aware training: the network learns on while its weights and activations are rounded as they will be.

Jacob et al. 2018, arXiv:1712.05877, section 3, with straight-through gradients; normalization is folded into the
weights before, so that what is trained is what is stored. The ranges of activations stay as they were calibrated; those
of the weights follow the weights.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netwright.compression.quantization.annotate import Int8Quantizer
from netwright.compression.quantization.exported import export, takes_any_batch
from netwright.compression.quantization.fold.fold import fold
from netwright.compression.quantization.observers import ObserverName, PerChannelNow
from netwright.compression.quantization.pt2e import FakeQuantize, convert_pt2e, prepare_qat_pt2e
from netwright.core.errors import NetwrightError
from netwright.core.run import Run
from netwright.data import Dataset, calibration_batches
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.training.loop import train_network
from netwright.training.recipe import Recipe


def quantization_aware(**fields: Any) -> Recipe:
    """Return the recipe: a few epochs at a low rate, half of the loss from the network before it was quantized."""
    defaults = {"method": "static", "epochs": 3.0, "learning_rate": 0.005, "distillation_weight": 0.5}
    return Recipe(**{**defaults, "warmup_epochs": 0.2, "evaluate_every": 0.0, **fields})


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
        recipe: of method static; without one, `quantization_aware()`. Its calibration_images choose the ranges.
        teacher: sees the same batches; without one, the module itself teaches, in float.
        run: where records and checkpoints go.

    Raises:
        NetwrightError: as `quantize` and `train_network`; the module fixes its batch size.
    """
    recipe = recipe or quantization_aware()
    batches = calibration_batches(dataset, resolution=resolution, images=recipe.calibration_images)
    student = FakeQuantized(module, batches, observer)
    if teacher is None and recipe.distillation_weight:
        teacher = copy.deepcopy(module).eval()
    train_network(student, dataset, recipe, resolution=resolution, run=run, teacher=teacher)
    return student.integers(batches[0][:1].cpu())


class FakeQuantized(nn.Module):
    """A module with every weight and activation rounded as its integers will be; gradients pass straight through."""

    def __init__(self, module: nn.Module, batches: list[Tensor], observer: ObserverName = "mse"):
        super().__init__()
        if not batches:
            raise NetwrightError("Quantizing got no images to choose ranges from: let calibration_images be 1 or more.")
        self._name = type(module).__name__
        exported = export(copy.deepcopy(module).cpu(), (batches[0],))
        if not takes_any_batch(exported):
            raise NetwrightError(
                f"{self._name} fixes its batch size, and training needs it free: "
                "write x.shape[0] for len(x) in its forward."
            )
        self.graph: GraphModule = prepare_qat_pt2e(exported, Int8Quantizer(observer, trained=True))
        for parameter in self.graph.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        self._calibrate(batches)

    def forward(self, x_BCHW: Tensor) -> Any:
        return self.graph(x_BCHW)

    def train(self, mode: bool = True) -> FakeQuantized:
        """Note the mode; the graph has but one, as normalization is folded and dropout left out."""
        self.training = mode
        return self

    def integers(self, x_BCHW: Tensor) -> QuantizedGraph:
        """Return the graph in integers, for images like these; this module is spent by it."""
        self.cpu()
        with torch.no_grad():
            self.graph(x_BCHW)  # the ranges of the weights as they are now
        return fold(convert_pt2e(self.graph), (x_BCHW,), self._name)

    def _calibrate(self, batches: list[Tensor]) -> None:
        """Choose the ranges from float activations, then keep those of the activations and round everything."""
        rounding = [part for part in self.graph.modules() if isinstance(part, FakeQuantize)]
        for part in rounding:
            part.disable_fake_quant()
        with torch.no_grad():
            for x_BCHW in batches:
                self.graph(x_BCHW)
        for part in rounding:
            part.enable_fake_quant()
            if not isinstance(part.activation_post_process, PerChannelNow):
                part.disable_observer()
