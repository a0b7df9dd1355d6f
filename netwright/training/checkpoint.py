"""The full state of a training in one file: written atomically, read back with every name and shape checked."""

from __future__ import annotations

import json
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
    """Writes the state of a training now and then; without a run it writes nothing."""

    def __init__(self, training: Training, run: Run | None, about: dict[str, Any] | None = None):
        self._training, self._run, self._about = training, run, about or {}
        self._saved = time.monotonic()

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
                f"Training diverged: weights are not finite after step {training.step - 1}. The last checkpoint in "
                f"{run.path} is kept. Try a lower learning_rate or a smaller grad_clip (--set), into another --out."
            )
        save_state(run.path / NAME, {"recipe": training.recipe.to_json(), **self._about, **training.state()})
        self._saved = time.monotonic()

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
