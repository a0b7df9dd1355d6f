"""Recipes: everything a training run needs besides data, as one frozen dataclass and functions that fill it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import Table, is_own, name_of
from netwright.training.fields import check, from_json, parse
from netwright.training.methods.table import METHODS


@dataclass(frozen=True)
class Recipe:
    """How to train. Rates and decays are plain numbers, times are epochs (passes over the training images).

    Attributes:
        method: which networks learn in a step, and from what: a name in METHODS, FILE.py:NAME, or a Method.
        changes: what is done to the network before and while it trains, in order, each by its kind and name and with its
            arguments: ({"surgery": NAME, "bits": 4},); kinds are surgery, objective and plan (`training.change`).
        epochs: length of the whole training; fractions are allowed.
        stages: shares of the epochs that the method's stages get; empty: the method's own.
        batch_size: images of one optimizer step, over all processes and accumulated parts.
        learning_rate: peak rate for that batch size; falls to 0 by a cosine in every stage.
        stage_learning_rate: factor on the peak in every stage after the first.
        warmup_epochs: linear rise at the start of every stage, at most a tenth of the stage.
        weight_decay: not applied to norms, biases and kernel transforms.
        label_smoothing: on hard labels only.
        distillation_weight: share of the soft targets in the loss of a network that has a teacher; 1: no hard labels.
        subnets_per_step: networks that learn in one step (sandwich: largest, smallest, the rest random).
        ema_decay: of the averaged weights that are evaluated and saved; 0: no averaging. Ramps up from 0.1.
        grad_clip: greatest norm of the whole gradient; 0: no clipping.
        accumulate: parts that a batch is cut into, to save memory.
        precision: fp32, bf16 (autocast), or fp16 (autocast and loss scaling; GPU only).
        augment: auto: what suits the data set; else one of data.Augment's kinds.
        evaluate_every: epochs between evaluations on the validation images; 0: at the end only.
        calibration_images: images for the BatchNorm statistics of evaluated sub-networks.
        checkpoint_seconds, checkpoint_steps: how often the full state is written; steps count if not 0.
        log_every: steps between training records.
    """

    method: Any
    epochs: float = 30.0
    stages: tuple[float, ...] = ()
    batch_size: int = 128
    learning_rate: float = 0.2
    stage_learning_rate: float = 0.5
    warmup_epochs: float = 1.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    distillation_weight: float = 0.0
    subnets_per_step: int = 1
    ema_decay: float = 0.998
    grad_clip: float = 5.0
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    augment: Literal["auto", "crop", "resized-crop", "none"] = "auto"
    seed: int = 0
    evaluate_every: float = 5.0
    calibration_images: int = 512
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int = 0
    log_every: int = 50
    changes: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot train. A method in a file of one's own is read when it is first used."""
        for name in ("stages", "changes"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, kind in get_type_hints(Recipe).items():
            check(name, kind, getattr(self, name))
        if not (isinstance(self.method, str) and is_own(self.method)):
            METHODS.check(self.method)
        positive = ("epochs", "batch_size", "learning_rate", "stage_learning_rate", "subnets_per_step")
        positive += ("accumulate", "log_every", "calibration_images")
        zero_or_more = ("warmup_epochs", "weight_decay", "grad_clip", "evaluate_every", "checkpoint_steps", "seed")
        below_one = ("momentum", "label_smoothing", "ema_decay")
        for name in positive:
            _check(name, getattr(self, name), getattr(self, name) > 0, "greater than 0")
        for name in (*zero_or_more, "checkpoint_seconds"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or greater")
        for name in below_one:
            _check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "from 0 to below 1")
        _check("distillation_weight", self.distillation_weight, 0 <= self.distillation_weight <= 1, "from 0 to 1")
        _check("stages", self.stages, all(share > 0 for share in self.stages), "shares greater than 0")
        if self.batch_size % self.accumulate:
            raise NetwrightError(
                f"Recipe: batch_size {self.batch_size} cannot be cut into accumulate={self.accumulate} equal parts."
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a method that was passed as an object by its name, no changes not at all."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["method"] = name_of(self.method)
        if not self.changes:
            del values["changes"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Any) -> Recipe:
        """Read what `to_json` wrote.

        Raises:
            NetwrightError: a field is unknown, missing or of the wrong type.
        """
        kinds = get_type_hints(cls)
        if not isinstance(values, dict) or "method" not in values:
            raise NetwrightError(f"Not a recipe: {str(values)[:200]}. It must be a JSON object with a method.")
        return cls(**{name: from_json(name, kinds, value) for name, value in values.items()})


def progressive_shrinking(**fields: Any) -> Recipe:
    """Largest network, then elastic kernels, depths, widths, distilled from the largest (arXiv:1908.09791)."""
    return _filled({"method": "progressive", "distillation_weight": 0.5, "subnets_per_step": 4}, fields)


def sandwich(**fields: Any) -> Recipe:
    """Largest, smallest and random networks in every step, distilled in place (arXiv:2003.11142)."""
    return _filled({"method": "sandwich", "distillation_weight": 1.0, "subnets_per_step": 4}, fields)


def pretrained(**fields: Any) -> Recipe:
    """From trained weights: largest, smallest and one random network a step at a low rate, on varied crops."""
    defaults = {"method": "sandwich", "distillation_weight": 1.0, "subnets_per_step": 3, "optimizer": "adamw"}
    defaults |= {"learning_rate": 1e-3, "weight_decay": 0.01, "batch_size": 32, "epochs": 8.0, "warmup_epochs": 0.5}
    return _filled({**defaults, "augment": "resized-crop", "ema_decay": 0.99}, fields)


def random_sampling(**fields: Any) -> Recipe:
    """Random networks in every step, each from the labels: the baseline."""
    return _filled({"method": "random", "subnets_per_step": 4}, fields)


def static_training(**fields: Any) -> Recipe:
    """One network from its initial weights."""
    return _filled({"method": "static"}, fields)


def fine_tuning(**fields: Any) -> Recipe:
    """A few epochs for an extracted sub-network: low rate, and distilled where a teacher is given."""
    defaults = {"method": "static", "epochs": 5.0, "learning_rate": 0.02, "distillation_weight": 0.5}
    return _filled({**defaults, "warmup_epochs": 0.5}, fields)


RECIPES: Table[Callable[..., Recipe]] = Table(
    "Recipe",
    {
        "progressive": "netwright.training.recipe:progressive_shrinking",
        "sandwich": "netwright.training.recipe:sandwich",
        "pretrained": "netwright.training.recipe:pretrained",
        "random": "netwright.training.recipe:random_sampling",
        "static": "netwright.training.recipe:static_training",
        "fine-tuning": "netwright.training.recipe:fine_tuning",
    },
)


def recipe(given: str | Recipe | Callable[..., Recipe], **fields: Any) -> Recipe:
    """Return a recipe with some fields replaced: by its name in RECIPES, FILE.py:NAME, a function of one's own, or a Recipe.

    Raises:
        NetwrightError: no such recipe, no such field, a value of the wrong type, or not a recipe.
    """
    if isinstance(given, Recipe):
        return dataclasses.replace(given, **_known(fields))
    made = RECIPES.find(given)(**_known(fields))
    if not isinstance(made, Recipe):
        raise NetwrightError(f"Recipe {name_of(given)!r} returned a {type(made).__name__}; it must return a Recipe.")
    return made


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with fields replaced, each setting a text `name=value`.

    Raises:
        NetwrightError: a setting has no `=`, names no field, or holds a value of another type.
    """
    kinds = get_type_hints(Recipe)
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise NetwrightError(f"--set {setting!r} must look like name=value, for example --set learning_rate=0.1.")
        _known({name: text})
        values[name] = parse(name, kinds[name], text.strip())
    if "method" in values:
        METHODS.check(values["method"])
    return dataclasses.replace(recipe, **values)


def with_fields(plan: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """Return the recipe with fields replaced; a text is read as on the command line, other values are taken as they are.

    Raises:
        NetwrightError: no such field, or a value of the wrong type.
    """
    plan = override(plan, [f"{name}={value}" for name, value in fields.items() if isinstance(value, str)])
    values = {name: value for name, value in fields.items() if not isinstance(value, str)}
    return recipe(plan, **values) if values else plan


def _filled(defaults: dict[str, Any], given: dict[str, Any]) -> Recipe:
    return Recipe(**{**defaults, **_known(given)})


def _known(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields, all of which must be a Recipe's."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    for name in given:
        if name not in names:
            raise unknown("Recipe setting", name, names)
    return given


def _check(name: str, value: Any, holds: bool, rule: str) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not holds or not all(math.isfinite(number) for number in numbers):
        raise NetwrightError(f"Recipe: {name} is {value}; it must be {rule}.")
