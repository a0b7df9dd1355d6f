"""Surgery for quantization-aware training: a network whose weights and activations are rounded as they will be.

Jacob et al. 2018, arXiv:1712.05877, section 3, with straight-through gradients; normalization is folded into the
weights before, so that what is trained is what is stored. The ranges of activations stay as they were calibrated; those
of the weights follow the weights.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netwright.compression.quantization.annotate import Int8Quantizer
from netwright.compression.quantization.compare import IMAGES, compare, first_images
from netwright.compression.quantization.exported import export, takes_any_batch
from netwright.compression.quantization.fold.fold import fold
from netwright.compression.quantization.observers import ObserverName, PerChannelNow
from netwright.compression.quantization.pt2e import FakeQuantize, convert_pt2e, prepare_qat_pt2e
from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.training.change import Example


@dataclass(frozen=True)
class FakeQuantization:
    """The surgery. What it returns is trained as any network; its `finish` gives the integers.

    Attributes:
        observer: how the ranges of activations are chosen (`observers`).
        images: of the training data, without augmentation, on which they are chosen.
    """

    observer: ObserverName = "mse"
    images: int = 512

    def change(self, module: nn.Module, example: Example) -> FakeQuantized:
        """Return a copy of the module that rounds.

        Raises:
            NetwrightError: as `quantize`; the module fixes its batch size.
        """
        return FakeQuantized(module, example.calibration(self.images), self.observer)


class FakeQuantized(nn.Module):
    """A module with every weight and activation rounded as its integers will be; gradients pass straight through.

    Attributes:
        changed: the observer, the images it saw, and how many weights and activations are rounded.
    """

    def __init__(self, module: nn.Module, batches: Sequence[Tensor], observer: ObserverName = "mse"):
        super().__init__()
        if not batches:
            raise NetwrightError("Quantizing got no images to choose ranges from: let calibration_images be 1 or more.")
        self._name = type(module).__name__
        batches = [x_BCHW.cpu() for x_BCHW in batches]
        self._example = batches[0][:1]
        self._compared = first_images([(x_BCHW,) for x_BCHW in batches], IMAGES)
        exported = export(copy.deepcopy(module).cpu(), (batches[0],))
        if not takes_any_batch(exported):
            raise NetwrightError(
                f"{self._name} fixes its batch size, and training needs it free: "
                "write x.shape[0] for len(x) in its forward."
            )
        self.graph: GraphModule = prepare_qat_pt2e(exported, Int8Quantizer(observer, trained=True))
        for parameter in self.graph.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        rounded = self._calibrate(batches)
        self.changed: dict[str, Any] = {"observer": observer, "images": sum(map(len, batches)), **rounded}

    def forward(self, x_BCHW: Tensor) -> Any:
        return self.graph(x_BCHW)

    def train(self, mode: bool = True) -> FakeQuantized:
        """Note the mode; the graph has but one, as normalization is folded and dropout left out."""
        self.training = mode
        return self

    def finish(self) -> QuantizedGraph:
        """Return the graph in integers, for one image, compared with itself without rounding; this module is spent by it."""
        self.cpu()
        trained = copy.deepcopy(self.graph)
        for part in trained.modules():
            if isinstance(part, FakeQuantize):
                for switch in (part.disable_fake_quant, part.disable_observer):
                    switch()
        with torch.no_grad():
            self.graph(self._example)  # the ranges of the weights as they are now
        model = fold(convert_pt2e(self.graph), (self._example,), self._name)
        comparison = compare(trained, model, self._compared)
        if doubt := comparison.doubt():
            say(doubt)
        return dataclasses.replace(model, comparison=comparison)

    def _calibrate(self, batches: list[Tensor]) -> dict[str, int]:
        """Choose the ranges from float activations, keep those of the activations, round everything; count both."""
        rounding = [part for part in self.graph.modules() if isinstance(part, FakeQuantize)]
        for part in rounding:
            part.disable_fake_quant()
        with torch.no_grad():
            for x_BCHW in batches:
                self.graph(x_BCHW)
        weights = [part for part in rounding if isinstance(part.activation_post_process, PerChannelNow)]
        for part in rounding:
            part.enable_fake_quant()
            if part not in weights:
                part.disable_observer()
        return {"weights": len(weights), "activations": len(rounding) - len(weights)}
