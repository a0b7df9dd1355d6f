"""What a network is for: its data, the head it needs, its loss, and how well it does.

The training loop, evaluation, predictor, search, report and deployment speak of a task's metric, never of accuracy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from netwright.core.metric import Metric
from netwright.data import Augment, Dataset, augment_for
from netwright.nn.block import Block, Shape

__all__ = ["Meter", "Metric", "OutputContract", "Task"]


class Meter(Protocol):
    """Adds up a metric over batches."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Count one batch."""
        ...

    def value(self) -> float:
        """Return the metric over all batches so far."""
        ...


@dataclass(frozen=True)
class OutputContract:
    """What a deployed network of a task returns.

    Attributes:
        name: of the output in the ONNX file.
        network: what the network is, one sentence without a full stop: "An image classifier for 10 classes".
        meaning: of the output, for people: "one logit a class: cat, dog".
        usage: Python that prints the answer to one image from `output` (an array without the batch dimension) and `told`
            (the file's metadata).
    """

    name: str
    network: str
    meaning: str
    usage: str


class Task(ABC):
    """Base of all tasks; `classify.py` is the first. What a task does not define has the default given here.

    A batch is (inputs, targets). Inputs are one tensor or a tuple, the arguments of the network; targets, outputs and soft
    targets may be anything that the task's own methods understand: numbers, maps, images, tuples of them.
    """

    name: str
    metric: Metric

    def outputs(self, dataset: Dataset) -> int:
        """Return how many outputs (K) a head with one output a class has for a data set: what spaces take as `classes`."""
        return len(dataset.classes)

    @abstractmethod
    def head(self, features: Shape, outputs: int) -> Block:
        """Return the block that makes `outputs` outputs from features of a shape, (C, H, W) or (N, D)."""

    def prepare(self, dataset: Dataset) -> Dataset:
        """Return the data set with this task's targets (`ImageSet.targets`); by default they are the labels.

        Asked again, for a data set that it returned, it changes nothing.

        Raises:
            NetwrightError: the data set does not suit the task.
        """
        return dataset

    def augment(self, dataset: Dataset) -> Augment:
        """Return how training images are varied. Targets are not varied with them: with maps, choose kind "none"."""
        return augment_for(dataset)

    def batch(self, x_BCHW: Tensor, targets: Any) -> tuple[Any, Any]:
        """Return (inputs, targets) from a batch of varied, normalized images and their targets, on the same device.

        Here a task makes what depends on the varied image: a reduced one as input, the image itself as target.
        """
        return x_BCHW, targets

    @abstractmethod
    def loss(self, outputs: Any, targets: Any, *, smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, a scalar. `smoothing`: the recipe's label smoothing, for tasks with labels."""

    def soften(self, outputs: Any) -> Any:
        """Return a network's outputs as soft targets for another one."""
        return outputs

    def soft_loss(self, outputs: Any, soft: Any) -> Tensor:
        """Return the mean loss against soft targets; by default the loss against them as targets."""
        return self.loss(outputs, soft)

    @abstractmethod
    def meter(self) -> Meter:
        """Return a new meter of the metric."""

    def answer(self, outputs: Any) -> Any:
        """Return the targets for which the outputs would be right: verification compares two networks by them."""
        return outputs

    def contract(self, classes: tuple[str, ...]) -> OutputContract:
        """Return what a deployed network returns. `classes`: those of the data set."""
        names = ", ".join(classes)
        return OutputContract("output", f"A network for the task {self.name}", names, "print(output)")
