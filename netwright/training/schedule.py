"""Where a step is in a training: its stage, its epoch, its learning rate. Pure functions of the step's number.

Cosine with warm-up: SGDR, Loshchilov and Hutter 2016, arXiv:1608.03983; Goyal et al. 2017, arXiv:1706.02677.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.training.lesson import Stage
from netwright.training.recipe import Recipe


@dataclass(frozen=True)
class Span:
    """The steps of one stage: from `start` to below `end`."""

    stage: Stage
    start: int
    end: int


@dataclass(frozen=True)
class Schedule:
    """All stages of a training, laid out in steps."""

    spans: tuple[Span, ...]
    steps_per_epoch: int
    recipe: Recipe

    @classmethod
    def of(cls, stages: list[Stage], recipe: Recipe, steps_per_epoch: int) -> Schedule:
        """Lay the stages out by their shares of the recipe's epochs, rounded to steps; at least one step in all.

        Every stage gets at least one step. Where there are fewer steps than stages, the first stages get one each and
        the others none: the training is never longer than it was asked to be.
        """
        total = recipe.epochs * steps_per_epoch
        shares = [total * stage.share / sum(stage.share for stage in stages) for stage in stages]
        steps = max(1, round(total))
        stages = stages[:steps]
        spans: list[Span] = []
        for index, stage in enumerate(stages):
            start = spans[-1].end if spans else 0
            left = len(stages) - index - 1  # stages that each need a step after this one
            end = round(sum(shares[: index + 1])) if left else steps
            spans.append(Span(stage, start, min(max(start + 1, end), steps - left)))
        return cls(tuple(spans), steps_per_epoch, recipe)

    @property
    def epochs(self) -> float:
        """Passes over the training images that the steps make; it differs from the recipe's by less than a step."""
        return self.steps / self.steps_per_epoch

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.spans[-1].end

    def span(self, step: int) -> Span:
        """Return the stage that a step belongs to."""
        return next(span for span in self.spans if step < span.end)

    def epoch(self, step: int) -> tuple[int, int]:
        """Return (epoch, step within the epoch)."""
        return divmod(step, self.steps_per_epoch)

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear rise, then half a cosine down to 0, in every stage."""
        span = self.span(step)
        peak = self.recipe.learning_rate * (self.recipe.stage_learning_rate if span.start else 1.0)
        length, done = span.end - span.start, step - span.start
        warmup = min(round(self.recipe.warmup_epochs * self.steps_per_epoch), length // 10)
        if done < warmup:
            return peak * (done + 1) / (warmup + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (length - warmup)))

    def due(self, step: int, epochs: float) -> bool:
        """Whether something done every so many epochs is due after a step; always after the last, if 0 only then."""
        if step + 1 == self.steps:
            return True
        every = max(1, round(epochs * self.steps_per_epoch)) if epochs else self.steps
        return (step + 1) % every == 0
