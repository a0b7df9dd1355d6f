"""What a running training tells: records in the run, a line of progress, and an error when the loss is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
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

    It shows a line of progress after the first step, then every ten seconds. `work`: what a step of each stage costs, in any
    unit, for the time that is left; None: all cost the same. `run`, `speaks` and `callback` are None, False and None in all
    processes but the first. `stop`: the callback returned True.
    """

    def __init__(
        self,
        schedule: Schedule,
        metric: Metric,
        run: Run | None,
        speaks: bool,
        callback: Callback | None = None,
        work: Sequence[float] | None = None,
    ):
        self._schedule, self._metric, self._run, self._speaks = schedule, metric, run, speaks
        self._callback = callback
        self.stop = False
        self._losses: list[tuple[int, Tensor]] = []
        self._mean = math.nan
        self._mark = self._shown = time.monotonic()
        self._first_unshown: int | None = None  # step
        self._per_log = min(schedule.recipe.log_every, schedule.steps_per_epoch)
        self._work = work or [1.0] * len(schedule.spans)

    def step(self, step: int, loss: Tensor) -> None:
        """Take in the loss of one step; now and then check, record and show."""
        self._losses.append((step, loss))
        last = step + 1 == self._schedule.steps
        if (step + 1) % self._per_log == 0 or last:
            self._report(step)
        first, due = self._first_unshown is None, time.monotonic() - self._shown >= SHOW_EVERY_S
        if self._speaks and (first or due or last):
            self._show(step)

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
        passed = time.monotonic() - since
        self._mark, self._shown = self._mark + passed, self._shown + passed

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
        images_per_s = len(self._losses) * self._schedule.recipe.batch_size / max(now - self._mark, 1e-9)
        self._losses.clear()
        self._mark = now
        record = {"kind": "train", "epoch": self._epochs(step), "step": step + 1, "loss": round(self._mean, 6)}
        record["learning_rate"] = float(f"{self._schedule.learning_rate(step):.6g}")
        self._record({**record, "images_per_s": round(images_per_s, 1)})

    def _show(self, step: int) -> None:
        self.check()
        schedule, now, begin = self._schedule, time.monotonic(), self._first_unshown
        begin = step if begin is None else begin
        seconds = max(now - self._shown, 1e-9)
        images_per_s = (step + 1 - begin) * schedule.recipe.batch_size / seconds
        left_s = seconds * self._work_of(step + 1, schedule.steps) / self._work_of(begin, step + 1)
        self._shown, self._first_unshown = now, step + 1
        say(
            f"step {step + 1} of {schedule.steps}, epoch {self._epochs(step):.4g} of {schedule.epochs:.4g} "
            f"({schedule.span(step).stage.name}): loss {self._mean:.3f}, {images_per_s:.0f} images/s, "
            f"about {_duration(left_s)} left"
        )

    def _work_of(self, start: int, end: int) -> float:
        """Return the work of the steps from `start` to below `end`."""
        parts = zip(self._schedule.spans, self._work, strict=True)
        return sum(work * max(0, min(end, span.end) - max(start, span.start)) for span, work in parts)

    def _epochs(self, step: int) -> float:
        return round((step + 1) / self._schedule.steps_per_epoch, 4)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
