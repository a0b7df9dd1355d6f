"""Methods with a loss, parameters and a step of their own; callbacks that watch a training and stop it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import netwright.training.checkpoint as checkpoint
from netwright.core.errors import NetwrightError
from netwright.training.lesson import Extra
from netwright.training.loop import train_network, train_supernet
from netwright.training.method import Method
from netwright.training.methods.random_sampling import RANDOM
from netwright.training.methods.sandwich import SANDWICH
from netwright.training.methods.static import STATIC
from netwright.training.mixed_loss import mixed
from netwright.training.recipe import random_sampling
from tests.training.small import colours, small_recipe, small_run, small_supernet


def temperature(answer):
    """Return the task's loss of outputs that a learnt factor scales."""
    scaled = answer.outputs * answer.extra["factor"]
    return answer.task.loss(scaled, answer.targets) + 0.1 * mixed(answer)


def factor(module, space):
    assert space.name == "small"
    return Extra(nn.ParameterDict({"factor": nn.Parameter(torch.ones(()))}), "adamw", learning_rate=0.1)


def count(training):
    with torch.no_grad():
        training.module.net.stem.conv.weight.mul_(0.999)


OWN = Method(RANDOM.stages, RANDOM.lessons, loss=temperature, parameters=factor, after=count, name="tempered")


class Killed(BaseException):
    """Stands for a kill at a chosen point."""


def test_a_method_of_ones_own_learns_its_parameters_and_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    recipe = small_recipe("random", method=OWN, epochs=2, evaluate_every=0, checkpoint_steps=1)
    assert recipe.to_json()["method"] == "tempered"

    def train(path):
        train_supernet(small_supernet(), colours(), recipe, small_run(path, recipe))
        extras = checkpoint.load_state(path / checkpoint.NAME)["extras"]
        return (path / "model.safetensors").read_bytes(), float(extras[0]["parameters"]["factor"])

    whole = train(tmp_path / "whole")
    assert whole[1] != 1.0
    real = checkpoint.save_state

    def save_and_die(path, state):
        real(path, state)
        raise Killed

    monkeypatch.setattr(checkpoint, "save_state", save_and_die)
    for _ in range(6):
        with pytest.raises(Killed):
            train(tmp_path / "parts")
    monkeypatch.undo()
    assert train(tmp_path / "parts") == whole


def test_a_method_for_one_network_of_ones_own():
    seen = []
    own = Method(STATIC.stages, STATIC.lessons, after=lambda training: seen.append(training.step))
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    train_network(net, colours(), small_recipe("static", method=own, epochs=1), resolution=8)
    assert seen == [1, 2, 3]
    with pytest.raises(NetwrightError, match="a Method is needed"):
        small_recipe("static", method=len)


def test_a_callback_gets_the_records_of_the_run(tmp_path):
    recipe, seen = small_recipe("random", epochs=2, evaluate_every=1, log_every=2), []
    run = small_run(tmp_path, recipe)
    train_supernet(small_supernet(), colours(), recipe, run, callback=seen.append)
    assert seen == run.metrics()
    alone = []
    train_supernet(small_supernet(), colours(), recipe, callback=alone.append)
    timeless = [[{k: v for k, v in r.items() if k != "images_per_s"} for r in records] for records in (seen, alone)]
    assert timeless[0] == timeless[1]


def test_a_callback_stops_the_training_and_a_stopped_run_resumes_to_the_same_bytes(tmp_path, capsys):
    recipe = small_recipe("random", epochs=3, evaluate_every=1)

    def train(path, callback=None):
        supernet = small_supernet()
        train_supernet(supernet, colours(), recipe, small_run(path, recipe), callback=callback)
        return supernet

    train(tmp_path / "whole")
    stopped = train(tmp_path / "parts", lambda record: record["kind"] == "eval")
    assert not stopped.training
    assert "Repeat the command to resume" in capsys.readouterr().err
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert checkpoint.load_state(tmp_path / "parts" / checkpoint.NAME)["step"] == 3
    train(tmp_path / "parts", lambda record: "no")  # only True stops
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert models[0] == models[1]


def test_a_callback_that_stops_at_the_last_step_stops_nothing(tmp_path):
    recipe = random_sampling(epochs=1, batch_size=24, evaluate_every=0, calibration_images=48)
    train_supernet(small_supernet(), colours(), recipe, small_run(tmp_path, recipe), callback=lambda record: True)
    assert (tmp_path / "model.safetensors").exists()


def test_in_place_distillation_asks_the_first_network_of_the_step():
    answers = []

    def watched(answer):
        answers.append((answer.outputs.detach(), answer.soft))
        return mixed(answer)

    own = Method(SANDWICH.stages, SANDWICH.lessons, loss=watched, name="watched")
    train_supernet(small_supernet(), colours(), small_recipe("sandwich", method=own, epochs=1, evaluate_every=0))
    assert len(answers) == 3 * 3
    for step in range(0, 9, 3):
        (first, none), *others = answers[step : step + 3]
        assert none is None
        assert all(torch.equal(soft, first.softmax(1)) for _, soft in others)


def test_the_networks_of_a_step_follow_from_the_seed_and_the_step():
    def drawn(seed: int) -> list[int]:
        seen = []

        def lessons(space, stage, rng):
            seen.append(int(rng.integers(1 << 40)))
            return RANDOM.lessons(space, stage, rng)

        own = Method(RANDOM.stages, lessons, name="watched")
        recipe = small_recipe("random", method=own, epochs=1, evaluate_every=0, seed=seed)
        train_supernet(small_supernet(), colours(), recipe)
        return seen

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 6
