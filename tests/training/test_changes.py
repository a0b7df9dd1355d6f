"""What may be done to a network before and while it trains: surgery, terms of the loss, plans; by object and by name."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

import netwright.training.checkpoint as checkpoint
from netwright.core.errors import NetwrightError
from netwright.core.tables import Table
from netwright.training.change import resolve
from netwright.training.loop import train_network, train_supernet
from netwright.training.recipe import Recipe, override, static_training
from tests.training.small import colours, small_recipe, small_run, small_supernet


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))


@dataclasses.dataclass(frozen=True)
class Widened:
    """A surgery: a hidden layer before the last one."""

    width: int = 5

    def change(self, module, example):
        assert example.inputs[0].shape == (24, 3, 8, 8) and sum(map(len, example.calibration(40))) == 40
        return nn.Sequential(*list(module)[:-1], nn.Linear(288, self.width), nn.Linear(self.width, 3))


@dataclasses.dataclass(frozen=True)
class Shrunk:
    """An objective: outputs near 0."""

    weight: float = 1.0

    def objective(self, student, teacher):
        return lambda outputs, taught, targets: self.weight * outputs.square().mean()


class Matched:
    """An objective with parameters: outputs equal to a learnt linear map of the teacher's."""

    def objective(self, student, teacher):
        return _Match()


class _Match(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, outputs, taught, targets):
        return (outputs - self.map(taught)).square().mean()


class Planned:
    """A plan: counts the steps that it computes, and leaves evaluation alone."""

    def __init__(self):
        self.steps = 0

    def plan(self, module, example):
        assert module.training and example.inputs[0].shape == (12, 3, 8, 8)
        outer = self

        class Counted(nn.Module):
            def forward(self, x):
                outer.steps += 1
                return module(x)

        return Counted()


def test_surgery_is_trained_evaluated_and_saved(tmp_path):
    recipe = small_recipe("static", epochs=2)
    run = small_run(tmp_path, recipe)
    trained = train_network(network(), colours(), recipe, resolution=8, run=run, changes=[Widened(5), Shrunk(0.0)])
    assert [tuple(p.shape) for p in trained[-1].parameters()] == [(3, 5), (3,)]
    saved = checkpoint.load_state(tmp_path / "model.safetensors")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in trained.state_dict().items())
    assert [record["arch"] for record in run.metrics() if record["kind"] == "eval"] == ["network"]


def test_without_changes_the_network_itself_is_returned():
    net = network()
    assert train_network(net, colours(), small_recipe("static", epochs=1), resolution=8) is net


def test_a_term_of_the_loss_counts():
    def size(weight: float) -> float:
        net = network()
        train_network(net, colours(), small_recipe("static"), resolution=8, changes=[Shrunk(weight)])
        with torch.no_grad():
            return float(net(torch.randn(50, 3, 8, 8)).square().mean())

    assert size(3.0) < 0.5 * size(0.0)


def test_a_plan_computes_the_steps_and_only_them():
    plan, recipe = Planned(), small_recipe("static", epochs=2, accumulate=2)
    planned, plain = network(), network()
    assert train_network(planned, colours(), recipe, resolution=8, changes=[plan]) is planned
    train_network(plain, colours(), recipe, resolution=8)
    assert plan.steps == 2 * 6
    assert all(torch.equal(a, b) for a, b in zip(planned.parameters(), plain.parameters(), strict=True))


class Killed(BaseException):
    """Stands for a kill at a chosen point."""


def test_parameters_of_a_term_learn_and_resume_to_the_same_bytes(tmp_path, monkeypatch):
    recipe = small_recipe("static", epochs=2, checkpoint_steps=2, optimizer="adamw", learning_rate=0.01)
    changes = [Widened(), Matched()]

    def train(path, changes=changes):
        run = small_run(path, recipe)
        train_network(network(), colours(), recipe, resolution=8, run=run, teacher=network(), changes=changes)
        return (path / "model.safetensors").read_bytes(), checkpoint.load_state(path / checkpoint.NAME)["extras"]

    whole, extras = train(tmp_path / "whole")
    real = checkpoint.save_state

    def save_and_die(path, state):
        real(path, state)
        raise Killed

    monkeypatch.setattr(checkpoint, "save_state", save_and_die)
    with pytest.raises(Killed):
        train(tmp_path / "parts")
    monkeypatch.undo()
    first = checkpoint.load_state(tmp_path / "parts" / checkpoint.NAME)["extras"]
    with pytest.raises(NetwrightError, match="another changes"):
        train(tmp_path / "parts", [Widened(), Shrunk()])
    again, extras_again = train(tmp_path / "parts")
    assert again == whole
    weight = [state[0]["parameters"]["map.weight"] for state in (first, extras, extras_again)]
    assert torch.equal(weight[1], weight[2]) and not torch.equal(weight[0], weight[1])


def test_what_is_no_change_or_not_for_a_supernet_is_named():
    recipe = small_recipe("sandwich", epochs=1)
    for change in (Widened(), Planned()):
        with pytest.raises(NetwrightError, match="a supernet is many"):
            train_supernet(small_supernet(), colours(), recipe, changes=[change])
    with pytest.raises(NetwrightError, match="no change of a network"):
        train_supernet(small_supernet(), colours(), recipe, changes=["pruned"])
    plans = [Planned(), Planned()]
    with pytest.raises(NetwrightError, match="Two plans"):
        train_network(network(), colours(), small_recipe("static", accumulate=2), resolution=8, changes=plans)
    train_supernet(small_supernet(), colours(), recipe, changes=[Shrunk()])


TABLES = {"surgery": Table("Surgery", {"wide": f"{__name__}:Widened"}), "objective": Table("Objective", {})}


def test_changes_that_a_recipe_names_are_not_forgotten():
    recipe = small_recipe("static", epochs=1, changes=[{"surgery": "wide", "width": 4}])
    with pytest.raises(NetwrightError, match="none were given"):
        train_network(network(), colours(), recipe, resolution=8)
    trained = train_network(network(), colours(), recipe, resolution=8, changes=resolve(recipe.changes, TABLES))
    assert trained[-2].out_features == 4


def test_a_recipe_names_changes_and_they_are_made_in_order(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("class Own:\n    def objective(self, student, teacher):\n        return None\n")
    recipe = static_training(changes=[{"surgery": "wide", "width": 7}, {"objective": f"{file}:Own"}])
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    wide, own = resolve(again.changes, TABLES)
    assert wide == Widened(7) and type(own).__name__ == "Own"
    assert override(recipe, ['changes=[{"surgery": "wide"}]']).changes == ({"surgery": "wide"},)
    assert "changes" not in static_training().to_json()  # runs from before recipes had changes are resumed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("wide", "a sequence of changes"),
        ([{"surgerry": "wide"}], "one surgery or objective or plan"),
        ([{"surgery": "wide", "plan": "x"}], "one surgery or objective or plan"),
        ([{"surgery": Widened()}], "one surgery or objective or plan"),
        ([{"surgery": "wide", "width": Widened()}], "JSON cannot hold"),
        ([{"surgery": "wyde"}], "Did you mean 'wide'"),
        ([{"surgery": "wide", "widht": 3}], "Did you mean 'width'"),
        ([{"plan": "x"}], "Allowed: objective, surgery"),
    ],
)
def test_wrong_changes_are_named(changes, message):
    with pytest.raises(NetwrightError, match=message):
        resolve(static_training(changes=changes).changes, TABLES)
