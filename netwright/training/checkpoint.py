"""The full state of a training in one file: written atomically, read back with every name and shape checked."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.files import write_bytes
from netwright.core.progress import say
from netwright.core.run import Run
from netwright.core.state import load_state, save_state
from netwright.training.training import Training

NAME = "checkpoint.safetensors"
FREE = ("evaluate_every", "checkpoint_seconds", "checkpoint_steps", "log_every")  # may change between sessions


class Saver:
    """Writes the state of a training now and then; without a run it writes nothing.

    `training`: as it was restored, so that the step it is at says whether the run has a checkpoint already.
    """

    def __init__(self, training: Training, run: Run | None, about: dict[str, Any] | None = None):
        self._training, self._run, self._about = training, run, about or {}
        self._saved = time.monotonic()
        self._kept = training.step  # the step of the checkpoint on the disk; 0: there is none

    def check_space(self) -> None:
        """Refuse a disk that has no room for one checkpoint and the model, before a step is done.

        Raises:
            NetwrightError: says how much is needed and how much is free.
        """
        if self._run is None:
            return
        with contextlib.suppress(OSError):  # what does not say how much is free is found out by writing
            free, needed = shutil.disk_usage(self._run.path).free, self._training.state_bytes()
            if free < needed:
                raise NetwrightError(
                    f"{self._run.path}: {free / 1e6:.1f} MB are free on this disk; a checkpoint and the model need about "
                    f"{needed / 1e6:.1f} MB. Free some space, or choose another --out."
                )

    def due(self) -> bool:
        """Whether it is time, by the recipe's steps or seconds."""
        recipe = self._training.recipe
        if recipe.checkpoint_steps:
            return self._training.step % recipe.checkpoint_steps == 0
        return time.monotonic() - self._saved >= recipe.checkpoint_seconds

    def save(self) -> None:
        """Write the state.

        Raises:
            NetwrightError: weights are not finite, or the file cannot be written; the last checkpoint is kept.
        """
        training, run = self._training, self._run
        if run is None:
            return
        if not training.finite():
            raise NetwrightError(
                f"Training diverged: weights are not finite after step {training.step - 1}. {self._what_is_kept()} "
                "Try a lower learning_rate or a smaller grad_clip (--set), into another --out."
            )
        self._saved = time.monotonic()  # also where it fails: the next try has its time
        save_state(run.path / NAME, {"recipe": training.recipe.to_json(), **self._about, **training.state()})
        self._kept = training.step

    def try_to_save(self, last: bool) -> None:
        """Write the state; where the disk does not take it, say so and let the training go on. `last`: it is at its end.

        Raises:
            NetwrightError: weights are not finite.
        """
        try:
            self.save()
        except NetwrightError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            then = "Only the model is written." if last else "The training goes on, and tries again later."
            say(f"{error} {self._what_is_kept()} {then}")

    def explained(self, error: NetwrightError) -> NetwrightError:
        """Return an error of writing with what is kept of the training, after one more try to keep all of it."""
        if self._run is not None and self._kept < self._training.step:
            with contextlib.suppress(NetwrightError):  # the error at hand is the one to tell
                self.save()
        begin = "go on from there" if self._kept else "begin anew"
        return NetwrightError(
            f"{error} {self._what_is_kept()} Free some space, or make it writable, and repeat the command to {begin}."
        )

    def _what_is_kept(self) -> str:
        where = self._run.path if self._run else "the run"
        if not self._kept:
            return f"{where} has no checkpoint yet: of the {self._training.step} steps nothing is kept."
        return f"The checkpoint after step {self._kept} of {self._training.step} done is kept in {where}."

    def say_how_to_resume(self) -> None:
        """Tell a person who interrupted the training what was kept."""
        if self._run:
            say(f"Stopped after step {self._training.step}; saved. Repeat the command to resume from {self._run.path}.")


def resume(training: Training, run: Run, owner: bool, about: dict[str, Any] | None = None) -> bool:
    """Restore the run's checkpoint, if it has one; the owner also removes what is newer than it from the run.

    `about`: names of the task and the changes, which have to be those that the checkpoint was made with.

    Raises:
        NetwrightError: the checkpoint is damaged, or of another recipe, task, network or version.
    """
    path = run.path / NAME
    if not path.exists():
        if owner:
            _tidy(run, 0)
        return False
    try:
        state = load_state(path)
        _check_recipe(state.pop("recipe", None), training)
        for name, value in (about or {}).items():
            if state.get(name, value) != value:
                raise NetwrightError(f"It was made with another {name} ({state[name]}, now {value}).")
        training.restore(state)
    except NetwrightError as error:
        raise NetwrightError(
            f"Cannot resume from {path}. {error} Train into another --out, or delete the file to start this run over."
        ) from error
    if owner:
        _tidy(run, training.step)
    return True


def _check_recipe(saved: Any, training: Training) -> None:
    now = json.loads(json.dumps(training.recipe.to_json()))
    if not isinstance(saved, dict):
        raise NetwrightError("It holds no recipe.")
    differing = [name for name in now if name not in FREE and saved.get(name) != now[name]]
    if differing:
        raise NetwrightError(f"It was made with another recipe ({', '.join(differing)} differ).")


def _tidy(run: Run, step: int) -> None:
    """Drop the records of steps that will be done again, and files that a killed process left half written."""
    for stale in run.path.glob(".*.safetensors.*.tmp"):
        stale.unlink(missing_ok=True)
    records = run.metrics()
    kept = [r for r in records if r.get("kind") not in ("train", "eval") or r.get("step", 0) <= step]
    if kept != records:
        write_bytes(run.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept).encode())
