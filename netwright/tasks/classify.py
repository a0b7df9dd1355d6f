"""Image classification: one class an image, cross entropy, top-1 accuracy.

Label smoothing: Szegedy et al. 2015, arXiv:1512.00567, Section 7; soft targets: Hinton et al. 2015, arXiv:1503.02531.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from netwright.core.metric import TOP_1
from netwright.nn.block import Block, Shape
from netwright.nn.simple import PoolHead
from netwright.nn.transformer import TokenHead
from netwright.tasks.task import OutputContract, Task

_SHOWN = 50  # classes


class Top1:
    """The share of images whose highest logit is their label, in percent."""

    def __init__(self) -> None:
        self._right = self._count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch of logits [B, K] and labels [B]."""
        self._right += int((outputs.argmax(1) == targets).sum())
        self._count += len(targets)

    def value(self) -> float:
        """Return the accuracy in percent; 0 before the first image."""
        return 100 * self._right / max(self._count, 1)


class Classification(Task):
    """Outputs are logits [B, K], targets labels [B], soft targets probabilities [B, K]."""

    name = "classification"
    metric = TOP_1

    def head(self, features: Shape, outputs: int) -> Block:
        """Return average pooling and a linear layer, for feature maps (C, H, W) or tokens (N, D)."""
        return PoolHead(features[0], outputs) if len(features) == 3 else TokenHead(features[-1], outputs)

    def loss(self, outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Return the cross entropy with smoothed labels."""
        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def soften(self, outputs: Tensor) -> Tensor:
        """Return the probabilities."""
        return outputs.softmax(1)

    def soft_loss(self, outputs: Tensor, soft: Tensor) -> Tensor:
        """Return the cross entropy with the probabilities of another network."""
        return functional.cross_entropy(outputs, soft)

    def meter(self) -> Top1:
        """Return a meter of top-1 accuracy."""
        return Top1()

    def answer(self, outputs: Tensor) -> Tensor:
        """Return the classes of the highest logits."""
        return outputs.argmax(1)

    def contract(self, classes: tuple[str, ...]) -> OutputContract:
        """Return one logit a class."""
        more = f" and {len(classes) - _SHOWN} more (all in model.json)" if len(classes) > _SHOWN else ""
        return OutputContract(
            name="logits",
            network=f"An image classifier for {len(classes)} classes",
            meaning=f"one logit a class: {', '.join(classes[:_SHOWN])}{more}",
            usage='print(told["classes"][output.argmax()])',
        )


CLASSIFICATION = Classification()
