"""A method, a recipe and a task of one's own, in one file outside the package, through library and command line."""

from __future__ import annotations

import dataclasses
import json
import textwrap

import numpy as np
import pytest
import torch

import netwright
from netwright.core.errors import NetwrightError
from netwright.core.json_lines import read_lines
from netwright.core.run import Run
from netwright.core.tables import load_own
from netwright.cost.figures import Cost, Figure
from netwright.data import calibration_batches
from netwright.deployment.onnx import deploy_onnx
from netwright.specialization.evaluate import evaluate_archs, recorded
from netwright.training.evaluate import evaluate_subnet
from tests.training.small import colours, small_family, small_recipe, small_run

OWN = '''
import dataclasses

import torch

from netwright.core.metric import Metric
from netwright.data import Augment
from netwright.nn.simple import PoolHead
from netwright.tasks.task import OutputContract, Task
from netwright.training.lesson import Lesson
from netwright.training.method import Method, one_stage, sample
from netwright.training.recipe import random_sampling


def smallest_too(space, stage, rng):
    """The smallest network and a random one."""
    return [Lesson(space.smallest()), Lesson(sample(space, stage.elastic, rng, 1)[0], "first")]


PAIRS = Method(one_stage, smallest_too)


def in_pairs(**fields):
    return random_sampling(**{"method": __file__ + ":PAIRS", "epochs": 0.1, "distillation_weight": 0.5, **fields})


class Error:
    def __init__(self):
        self.sum = self.count = 0

    def update(self, outputs, targets):
        self.sum += float((255 * outputs[:, 0] - targets).abs().sum())
        self.count += len(targets)

    def value(self):
        return self.sum / max(self.count, 1)


class Brightness(Task):
    """The mean of all pixels, in grey levels."""

    name = "brightness"
    metric = Metric("mae", "mean absolute error", "grey levels", higher_is_better=False)

    def outputs(self, dataset):
        return 1

    def head(self, features, outputs):
        return PoolHead(features[0], outputs)

    def prepare(self, dataset):
        def with_targets(images):
            return dataclasses.replace(images, targets=images.images_NCHW.float().mean((1, 2, 3)))

        return dataclasses.replace(dataset, train=with_targets(dataset.train), val=with_targets(dataset.val))

    def augment(self, dataset):
        return Augment("none", flip=False)

    def loss(self, outputs, targets, *, smoothing=0.0):
        return (outputs[:, 0] - targets / 255).abs().mean()

    def soften(self, outputs):
        return self.answer(outputs)

    def answer(self, outputs):
        return 255 * outputs[:, 0]

    def meter(self):
        return Error()

    def contract(self, classes):
        return OutputContract("brightness", "A light meter", "the mean of all pixels over 255", "print(255 * output[0])")


BRIGHTNESS = Brightness()
'''


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(textwrap.dedent(OWN))
    return file


def supernet_of(task, dataset):
    family = small_family()  # of three outputs, of which the task reads the first
    torch.manual_seed(0)
    assert task.outputs(dataset) == 1
    return netwright.Supernet(family)


def test_a_task_of_ones_own_trains_and_is_evaluated(own, tmp_path):
    name = f"{own}:BRIGHTNESS"
    task, data = load_own(name), colours(120)
    supernet = supernet_of(task, data)
    prepared = task.prepare(data)
    smallest = supernet.family.space.smallest()
    before = evaluate_subnet(supernet, smallest, prepared, task=task)
    recipe = small_recipe("sandwich", epochs=8, evaluate_every=4, learning_rate=0.1)
    run = small_run(tmp_path / "run", recipe)
    netwright.train_supernet(supernet, data, recipe, run, task=name)
    after = evaluate_subnet(supernet, smallest, prepared, task=name)
    assert task.metric.score(after) > task.metric.score(before) and after < 0.5 * before
    evaluated = [record for record in run.metrics() if record["kind"] == "eval"]
    assert len(evaluated) == 6 and all("mae" in record and "accuracy" not in record for record in evaluated)
    with pytest.raises(NetwrightError, match="another task"):
        netwright.train_supernet(supernet, data, recipe, small_run(tmp_path / "run", recipe))


def test_sub_networks_are_evaluated_by_the_task_also_by_workers(own, tmp_path):
    task, data = load_own(f"{own}:BRIGHTNESS"), colours(60)
    supernet = supernet_of(task, data).eval()
    space = supernet.family.space
    archs = [space.decode(row) for row in space.sample(np.random.default_rng(0), 4)]
    alone = evaluate_archs(supernet, data, archs, tmp_path / "1.jsonl", task=task, workers=1)
    shared = evaluate_archs(supernet, data, archs, tmp_path / "2.jsonl", task=task, workers=2)
    assert alone.tolist() == shared.tolist()
    values = evaluate_subnet(supernet, archs[0], task.prepare(data), task=task, calibration_images=36)
    assert alone[0] == pytest.approx(values)
    assert recorded(tmp_path / "1.jsonl", key="mae") == dict(zip(archs, alone.tolist(), strict=True))
    assert recorded(tmp_path / "1.jsonl") == {}
    assert evaluate_archs(supernet, data, archs, tmp_path / "1.jsonl").min() >= 0  # classification, beside it
    assert len(read_lines(tmp_path / "1.jsonl")) == 8


def test_a_network_of_the_task_is_deployed_and_verified_by_its_metric(own, tmp_path):
    task, data = load_own(f"{own}:BRIGHTNESS"), colours(60)
    supernet = supernet_of(task, data)
    made, arch = supernet.family, supernet.family.space.smallest()
    net = supernet.extract(arch, calibration_batches(data, resolution=arch.resolution))
    cost = Cost(made.macs(arch), made.params(arch), score=Figure(3.0, "measured"), metric=task.metric)
    assert cost.to_json()["mae"] == {"value": 3.0, "kind": "measured"} and "accuracy" not in cost.to_json()
    artifact = deploy_onnx(
        net,
        arch=arch,
        space="small",
        settings={},
        classes=data.classes,
        mean=data.mean,
        std=data.std,
        resolution=arch.resolution,
        out_dir=tmp_path / "out",
        images=task.prepare(data).val,
        predicted=cost,
        origin={"run": "r"},
        measure=lambda path: 0.4,
        task=task,
    )
    told = json.loads((artifact.folder / "model.json").read_text())
    checked = told["verification"]
    assert checked["mae_source"] == pytest.approx(checked["mae_deployed"], abs=1e-3) and checked["agreement"] < 1e-3
    assert told["input"]["task"] == "brightness" and told["input"]["output_name"] == "brightness"
    card = (artifact.folder / "README.md").read_text()
    assert "A light meter, found" in card and "mean absolute error, this file" in card and "3 grey levels" in card
    assert "accuracy" not in card.lower() and "print(255 * output[0])" in card


def test_a_method_and_a_recipe_of_ones_own_through_the_library(own, tmp_path):
    module_recipe = load_own(f"{own}:in_pairs")
    plan = module_recipe(epochs=1, batch_size=24, evaluate_every=0, calibration_images=48)
    for number, given in enumerate((plan, dataclasses.replace(plan, method=load_own(f"{own}:PAIRS")))):
        torch.manual_seed(0)
        supernet = netwright.Supernet(small_family())
        seen = []
        netwright.train_supernet(
            supernet, colours(), given, small_run(tmp_path / str(number), given), callback=seen.append
        )
        assert [record["step"] for record in seen if record["kind"] == "train"] == [3]
    assert (tmp_path / "0/model.safetensors").read_bytes() == (tmp_path / "1/model.safetensors").read_bytes()
    torch.manual_seed(0)
    netwright.train_supernet(netwright.Supernet(small_family()), colours(), f"{own}:in_pairs")
    wrong = dataclasses.replace(plan, method=f"{own}:PAIR")
    with pytest.raises(NetwrightError, match="Did you mean 'PAIRS'"):
        netwright.train_supernet(supernet, colours(), wrong)


def test_a_method_of_ones_own_through_the_command_line(own, tmp_path, call):
    few = ["batch_size=64", "evaluate_every=0", "warmup_epochs=0", "subnets_per_step=1", "calibration_images=64"]
    settings = [word for setting in (*few, f"method={own}:PAIRS") for word in ("--set", setting)]
    out = tmp_path / "run"
    words = ["train", "digits", "--space", "tiny", "--recipe", "random", "--epochs", "0.1", "--out", out, *settings]
    ended = call(*words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["recipe"]["method"] == f"{own}:PAIRS"
    assert Run.open(out).config["recipe"]["method"] == f"{own}:PAIRS"
    assert (out / "model.safetensors").exists()
    wrong = call(*words[:-1], f"method={own}:PAIR")
    assert wrong.code == 1 and "Did you mean 'PAIRS'" in wrong.err


def test_a_task_and_a_recipe_of_ones_own_through_the_command_line(own, tmp_path, call):
    few = ["batch_size=64", "evaluate_every=0", "warmup_epochs=0", "subnets_per_step=1", "calibration_images=64"]
    settings = [word for setting in few for word in ("--set", setting)]
    out, task = tmp_path / "run", ["--task", f"{own}:BRIGHTNESS"]
    words = ["train", "digits", "--space", "tiny", "--recipe", f"{own}:in_pairs", "--out", out, *settings]
    ended = call(*words, *task, "--json")
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)["mae"]) == {"smallest", "middle", "largest"}
    again = call("search", out, "--macs", "2M", "--evaluations", "20", "--json")
    assert again.code == 1 and f"--task {own}:BRIGHTNESS" in again.err
    found = call("search", out, "--macs", "2M", "--evaluations", "20", *task, "--json")
    assert found.code == 0, found.err
    errors = [one["mae"]["value"] for one in json.loads(found.out)["candidates"]]
    assert errors and all(error > 0 for error in errors)
    reported = call("report", out, *task)
    assert reported.code == 0, reported.err
    assert "mean absolute error" in (out / "report.html").read_text()


OBJECTIVE = """
from dataclasses import dataclass


@dataclass(frozen=True)
class SmallAnswers:
    weight: float = 0.1

    def objective(self, student, teacher):
        return lambda outputs, taught, targets: self.weight * outputs.square().mean()


@dataclass(frozen=True)
class Pruned:
    def change(self, module, example):
        return module
"""


def test_an_objective_of_ones_own_is_in_the_loss_of_library_and_command_line(tmp_path, call):
    file, data = tmp_path / "mine.py", "digits"
    file.write_text(OBJECTIVE)
    settings = {"space": "tiny", "recipe": "random", "epochs": 0.1, "batch_size": 64, "evaluate_every": 0}
    named = [{"objective": f"{file}:SmallAnswers", "weight": 5.0}]
    plain = netwright.train(data, out=tmp_path / "plain", **settings)
    run = netwright.train(data, out=tmp_path / "own", changes=tuple(named), **settings)
    weights = [(made.run.path / "model.safetensors").read_bytes() for made in (plain, run)]
    assert weights[0] != weights[1]
    assert run.run.config["recipe"]["changes"] == named
    options = ["--space", "tiny", "--recipe", "random", "--epochs", "0.1", "--set", "batch_size=64"]
    options += ["--set", "evaluate_every=0", "--set", f"changes={json.dumps(named)}", "--json"]
    assert call("train", data, *options, "--out", tmp_path / "typed").code == 0
    assert (tmp_path / "typed/model.safetensors").read_bytes() == weights[1]
    for wrong, message in (("SmalAnswers", "Did you mean 'SmallAnswers'"), ("SmallAnswers", "Did you mean 'weight'")):
        change = [{"objective": f"{file}:{wrong}", "wieght": 5.0}]
        with pytest.raises(NetwrightError, match=message):
            netwright.train(data, out=tmp_path / "wrong", changes=tuple(change), **settings)
    with pytest.raises(NetwrightError, match="a supernet is many"):
        netwright.train(data, out=tmp_path / "wrong", changes=({"surgery": f"{file}:Pruned"},), **settings)
    assert not (tmp_path / "wrong").exists()
