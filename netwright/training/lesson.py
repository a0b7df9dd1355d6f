"""What a training is made of: stages, the lessons of a step, and parameters that learn beside the network's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from netwright.models.arch import Arch


@dataclass(frozen=True)
class Lesson:
    """One network of a training step, and what it learns from.

    Attributes:
        arch: the network. Its resolution is that of the batch.
        target: "labels": the targets of the data set. "first" or "teacher": those mixed, by the recipe's
            distillation_weight, with soft targets from the first network of the step (in-place distillation) or from the
            frozen teacher.
    """

    arch: Arch
    target: Literal["labels", "first", "teacher"] = "labels"


@dataclass(frozen=True)
class Stage:
    """A part of training with a learning rate schedule of its own.

    Attributes:
        share: of the epochs, relative to the other stages.
        elastic: fields of Arch that vary; the others stay at the largest network's.
        subnets: networks that learn in one step.
        distils: a frozen copy of the largest network, made when the first such stage begins, teaches.
        sorts_channels: put channels in order of importance when the stage begins.
    """

    name: str
    share: float
    elastic: tuple[str, ...]
    subnets: int = 1
    distils: bool = False
    sorts_channels: bool = False


@dataclass(frozen=True)
class Extra:
    """Parameters that learn beside the network's own; they are kept in the checkpoint, and averaged over processes.

    Attributes:
        module: holds them, for example an nn.ParameterDict.
        optimizer: None: the recipe's.
        learning_rate: factor on the rate of the schedule.
    """

    module: nn.Module
    optimizer: Literal["sgd", "adamw"] | None = None
    learning_rate: float = 1.0
    weight_decay: float = 0.0
