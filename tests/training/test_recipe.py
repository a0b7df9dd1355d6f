"""Recipes: typed overrides, JSON, and refusal of what cannot train."""

from __future__ import annotations

import dataclasses
import json

import pytest

from netwright.core.errors import NetwrightError
from netwright.training.recipe import RECIPES, Recipe, override, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name):
    original = recipe(name, stages=(0.5, 0.25, 0.125, 0.125), seed=3)
    assert Recipe.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_override_reads_every_type():
    base = recipe("progressive")
    changed = override(
        base, ["learning_rate=0.1", "epochs=7", "batch_size=64", "stages=1,2,3,4", "optimizer=adamw", "seed = 5"]
    )
    assert changed == dataclasses.replace(
        base, learning_rate=0.1, epochs=7.0, batch_size=64, stages=(1.0, 2.0, 3.0, 4.0), optimizer="adamw", seed=5
    )
    assert isinstance(changed.epochs, float) and isinstance(changed.batch_size, int)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learning_rat=0.1", "Did you mean 'learning_rate'"),
        ("learning_rate", "name=value"),
        ("learning_rate=fast", "must be a number, such as 0.1"),
        ("batch_size=12.5", "must be a whole number"),
        ("stages=1,two", "must be a number"),
        ("optimizer=sdg", "Did you mean 'sgd'"),
        ("method=sandwhich", "Did you mean 'sandwich'"),
        ("precision=fp8", "Allowed: bf16, fp16, fp32"),
        ("learning_rate=nan", "must be greater than 0"),
        ("learning_rate=inf", "must be greater than 0"),
        ("epochs=0", "must be greater than 0"),
        ("momentum=1", "from 0 to below 1"),
        ("ema_decay=-0.1", "from 0 to below 1"),
        ("distillation_weight=1.5", "from 0 to 1"),
        ("accumulate=3", "cannot be cut"),
        ("seed=-1", "0 or greater"),
    ],
)
def test_override_says_what_is_wrong(setting, message):
    with pytest.raises(NetwrightError, match=message):
        override(recipe("sandwich"), [setting])


@pytest.mark.parametrize(
    "values", [None, [], {}, {"method": "sandwich", "x": 1}, {"method": 3}, {"method": "static", "epochs": "3"},
               {"method": "static", "batch_size": 2.5}, {"method": "static", "batch_size": True},
               {"method": "static", "stages": [None]}]
)  # fmt: skip
def test_from_json_refuses_other_values(values):
    with pytest.raises(NetwrightError):
        Recipe.from_json(values)


def test_unknown_recipe():
    with pytest.raises(NetwrightError, match="Did you mean 'progressive'"):
        recipe("progresive")


@pytest.mark.parametrize("make", RECIPES.values())
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.1}, "Did you mean 'learning_rate'.*Allowed: .*epochs"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": "3"}, "epochs is '3'; it must be a number"),
        ({"batch_size": 2.5}, "must be a whole number"),
        ({"batch_size": True}, "must be a whole number"),
        ({"stages": 0.5}, "must be several numbers"),
        ({"stages": ("a",)}, "must be a number"),
        ({"optimizer": "adam"}, "Did you mean 'adamw'"),
        ({"method": "sandwhich"}, "Did you mean 'sandwich'"),
        ({"method": 3}, "a Method is needed"),
        ({"method": None}, "a Method is needed"),
    ],
)
def test_recipes_refuse_unknown_and_wrongly_typed_fields(make, fields, message):
    with pytest.raises(NetwrightError, match=message):
        make(**fields)


def test_a_recipe_is_given_by_name_by_function_or_as_it_is(tmp_path):
    def mine(**fields):
        return RECIPES["static"](**{"epochs": 2.0, **fields})

    assert recipe(mine, seed=4) == recipe("static", epochs=2.0, seed=4) == recipe(recipe(mine), seed=4)
    file = tmp_path / "own.py"
    file.write_text("from netwright import sandwich\ndef mine(**fields):\n    return sandwich(epochs=7, **fields)\n")
    assert recipe(f"{file}:mine").epochs == 7
    with pytest.raises(NetwrightError, match="must return a Recipe"):
        recipe(dict)
    with pytest.raises(NetwrightError, match="a function is needed"):
        recipe(3)


def test_a_method_in_a_recorded_recipe_is_not_run_when_it_is_read(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("raise SystemExit('ran')")
    read = Recipe.from_json({"method": f"{file}:MINE"})
    assert read.to_json()["method"] == f"{file}:MINE"
    with pytest.raises(NetwrightError, match="ran"):
        override(recipe("static"), [f"method={file}:MINE"])
