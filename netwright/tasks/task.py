"""What a network is for: the head it needs, how a batch is made, its loss, and how well it does.

The training loop, evaluation, predictor, search, report and deployment speak of a task's metric, never of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from netwright.nn.block import Block, Shape


@dataclass(frozen=True)
class Metric:
    """How well a network does its task, as one number.

    Attributes:
        key: its name in files, such as "accuracy".
        name: its name in texts, such as "top-1 accuracy".
        unit: "%", "dB"; empty where it has none.
        higher_is_better: otherwise lower is.
    """

    key: str
    name: str
    unit: str
    higher_is_better: bool = True

    def text(self, value: float, digits: int = 2) -> str:
        """Write a value with its unit."""
        return f"{value:.{digits}f} {self.unit}".rstrip()

    def score(self, value: float) -> float:
        """Return the value as a number of which higher is better, for searches."""
        return value if self.higher_is_better else -value


class Meter(Protocol):
    """Adds up a metric over batches."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Count one batch."""
        ...

    def value(self) -> float:
        """Return the metric over all batches so far."""
        ...


class Task(Protocol):
    """The contract of a task; `classify.py` is the first."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> Metric: ...

    def head(self, features: Shape) -> Block:
        """Return the block that makes this task's outputs from features of a shape."""
        ...

    def batch(self, samples: Sequence[Any]) -> tuple[Tensor, Any]:
        """Return inputs and targets of samples."""
        ...

    def loss(self, outputs: Any, targets: Any, soft: Any | None = None) -> Tensor:
        """Return the loss against targets, and against soft targets where they are given."""
        ...

    def soften(self, outputs: Any) -> Any:
        """Return outputs as soft targets for another network."""
        ...

    def meter(self) -> Meter:
        """Return a new meter of the metric."""
        ...
