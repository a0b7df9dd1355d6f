"""What a running training tells: records in the run, a line of progress, and an error when the loss is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.metric import Metric
from netwright.core.progress import say
from netwright.core.run import Run
from netwright.training.schedule import Schedule

SHOW_EVERY_S = 10.0
Callback = Callable[[dict[str, Any]], Any]


class Monitor:
    """Collects the losses of the steps and looks at them now and then, so that a GPU is seldom waited for.

    `run`, `speaks` and `callback` are None, False and None in all processes but the first. `stop`: the callback returned True.
    """

    def __init__(
        self, schedule: Schedule, metric: Metric, run: Run | None, speaks: bool, callback: Callback | None = None
    ):
        self._schedule, self._metric, self._run, self._speaks = schedule, metric, run, speaks
        self._callback = callback
        self.stop = False
        self._losses: list[tuple[int, Tensor]] = []
        self._mean = math.nan
        self._mark = self._shown = time.monotonic()
        self._per_log = min(schedule.recipe.log_every, schedule.steps_per_epoch)

    def step(self, step: int, loss: Tensor) -> None:
        """Take in the loss of one step; now and then check, record and show."""
        self._losses.append((step, loss))
        if (step + 1) % self._per_log == 0 or step + 1 == self._schedule.steps:
            self._report(step)

    def check(self) -> None:
        """Look at all losses since the last report.

        Raises:
            NetwrightError: one is not a finite number.
        """
        values = torch.stack([loss for _, loss in self._losses]).tolist() if self._losses else []
        for (step, _), value in zip(self._losses, values, strict=True):
            if not math.isfinite(value):
                raise NetwrightError(
                    f"Training diverged: the loss is {value} at step {step} (epoch "
                    f"{step / self._schedule.steps_per_epoch:.2f}), learning rate {self._schedule.learning_rate(step):.4g}. "
                    "The last checkpoint, from before, is kept. Try a lower learning_rate, more warmup_epochs or a "
                    "smaller grad_clip (--set), into another --out."
                )
        self._mean = sum(values) / len(values) if values else self._mean

    def skip_time(self, since: float) -> None:
        """Leave the time since then (of time.monotonic) out of the rate: evaluation, saving."""
        self._mark += time.monotonic() - since

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """Record and show the metric of each watched network on the validation images."""
        epoch, key = self._epochs(step), self._metric.key
        for arch, value in values.items():
            self._record({"kind": "eval", "epoch": epoch, "step": step + 1, "arch": arch, key: round(value, 4)})
        if self._speaks:
            shown = ", ".join(f"{arch} {self._metric.text(value)}" for arch, value in values.items())
            say(f"epoch {epoch:.4g}: validation {self._metric.name} {shown}")

    def _record(self, record: dict[str, Any]) -> None:
        if self._run:
            self._run.log(record)
        if self._callback is not None:
            self.stop = self._callback(dict(record)) is True or self.stop

    def _report(self, step: int) -> None:
        self.check()
        now = time.monotonic()
        steps_per_s = len(self._losses) / max(now - self._mark, 1e-9)
        images_per_s = steps_per_s * self._schedule.recipe.batch_size
        self._losses.clear()
        self._mark = now
        record = {"kind": "train", "epoch": self._epochs(step), "step": step + 1, "loss": round(self._mean, 6)}
        record["learning_rate"] = float(f"{self._schedule.learning_rate(step):.6g}")
        self._record({**record, "images_per_s": round(images_per_s, 1)})
        if self._speaks and (now - self._shown >= SHOW_EVERY_S or step + 1 == self._schedule.steps):
            self._shown = now
            say(
                f"epoch {self._epochs(step):.2f} of {self._schedule.recipe.epochs:g} "
                f"({self._schedule.span(step).stage.name}), loss {self._mean:.3f}, {images_per_s:.0f} images/s, "
                f"about {_duration((self._schedule.steps - step - 1) / steps_per_s)} left"
            )

    def _epochs(self, step: int) -> float:
        return round((step + 1) / self._schedule.steps_per_epoch, 4)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
