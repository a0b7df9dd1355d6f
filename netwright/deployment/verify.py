"""Whether a deployed program computes what its source network computes, on real images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.data.images import ImageSet
from netwright.data.loader import eval_batches
from netwright.deployment.contract import Contract
from netwright.runtime.runtimes import Program

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Verification:
    """What the comparison found. Accuracies and agreement are top-1, in percent.

    `max_abs_difference` is over all logits; `scale` is the largest logit, which the difference is judged by.
    """

    images: int
    max_abs_difference: float
    scale: float
    agreement: float
    accuracy_source: float
    accuracy_deployed: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance of float32 arithmetic in another order."""
        return self.max_abs_difference <= TOLERANCE * max(1.0, self.scale)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "passed": self.passed}


@torch.no_grad()
def verify(
    net: nn.Module, program: Program, images: ImageSet, contract: Contract, batch_size: int = 64
) -> Verification:
    """Run both on the same images and compare.

    Raises:
        NetwrightError: there are no images, or the outputs have other shapes.
    """
    if not len(images):
        raise NetwrightError("Verification needs at least one image.")
    net.eval()
    largest = scale = 0.0
    agree = right_source = right_deployed = 0
    batches = eval_batches(
        images, mean=contract.mean, std=contract.std, resolution=contract.size, batch_size=batch_size
    )
    for x_BCHW, y_B in batches:
        source_BK = net(x_BCHW)
        deployed_BK = torch.from_numpy(program.run(x_BCHW.numpy()))
        if deployed_BK.shape != source_BK.shape:
            raise NetwrightError(
                f"The deployed network returns {tuple(deployed_BK.shape)}, its source {tuple(source_BK.shape)}."
            )
        largest = max(largest, float((source_BK - deployed_BK).abs().max()))
        scale = max(scale, float(source_BK.abs().max()))
        agree += int((source_BK.argmax(1) == deployed_BK.argmax(1)).sum())
        right_source += int((source_BK.argmax(1) == y_B).sum())
        right_deployed += int((deployed_BK.argmax(1) == y_B).sum())
    percent = 100 / len(images)
    return Verification(len(images), largest, scale, agree * percent, right_source * percent, right_deployed * percent)
