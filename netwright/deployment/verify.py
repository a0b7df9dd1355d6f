"""Whether a deployed program computes what its source network computes, on real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.metric import TOP_1, Metric
from netwright.data.images import ImageSet
from netwright.data.loader import eval_batches
from netwright.deployment.contract import Contract
from netwright.runtime.runtime import Program
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Verification:
    """What the comparison found. `source` and `deployed` are values of the task's metric on the same images.

    `max_abs_difference` is over all outputs; `scale` is the largest output, which the difference is judged by.
    `agreement` is the metric of the deployed network with the answers of its source as targets.
    """

    images: int
    max_abs_difference: float
    scale: float
    agreement: float
    source: float
    deployed: float
    metric: Metric = TOP_1

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance of float32 arithmetic in another order."""
        return self.max_abs_difference <= TOLERANCE * max(1.0, self.scale)

    @property
    def accuracy_source(self) -> float:
        """The metric of the source, by the name that classification gives it."""
        return self.source

    @property
    def accuracy_deployed(self) -> float:
        """The metric of the deployed network, by the name that classification gives it."""
        return self.deployed

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the names of two derive from the metric's key."""
        return {
            "images": self.images,
            "max_abs_difference": self.max_abs_difference,
            "scale": self.scale,
            "agreement": self.agreement,
            f"{self.metric.key}_source": self.source,
            f"{self.metric.key}_deployed": self.deployed,
            "passed": self.passed,
        }


@torch.no_grad()
def verify(
    net: nn.Module,
    program: Program,
    images: ImageSet,
    contract: Contract,
    batch_size: int = 64,
    *,
    task: str | Task = "classification",
) -> Verification:
    """Run both on the same images and compare.

    Raises:
        NetwrightError: there are no images, or the outputs have other shapes.
    """
    if not len(images):
        raise NetwrightError("Verification needs at least one image.")
    task = TASKS.find(task)
    net.eval()
    largest = scale = 0.0
    agreement, source, deployed = task.meter(), task.meter(), task.meter()
    batches = eval_batches(
        images, mean=contract.mean, std=contract.std, resolution=contract.size, batch_size=batch_size
    )
    for x_BCHW, targets in batches:
        x_BCHW, targets = task.batch(x_BCHW, targets)
        expected: Tensor = net(x_BCHW)
        found = torch.from_numpy(program.run(x_BCHW.numpy()))
        if found.shape != expected.shape:
            raise NetwrightError(
                f"The deployed network returns {tuple(found.shape)}, its source {tuple(expected.shape)}."
            )
        largest = max(largest, float((expected - found).abs().max()))
        scale = max(scale, float(expected.abs().max()))
        agreement.update(found, task.answer(expected))
        source.update(expected, targets)
        deployed.update(found, targets)
    values = (meter.value() for meter in (agreement, source, deployed))
    return Verification(len(images), largest, scale, *values, metric=task.metric)
