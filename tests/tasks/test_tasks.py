"""Every task: its loss can be learnt, its metric prefers what its loss prefers, what it deploys is described."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.core.metric import TOP_1, Metric
from netwright.data import Augment, ImageSet
from netwright.data.preparation import Preparation
from netwright.deployment.contract import Contract
from netwright.nn.wiring import assemble
from netwright.tasks.tasks import TASKS
from tests.training.small import colours

tasks = pytest.mark.parametrize("task", [pytest.param(task, id=name) for name, task in TASKS.items()])


def batch(task, count: int = 24):
    """Return a head on 8 x 4 x 4 features, features that tell the images apart, and targets."""
    dataset = task.prepare(colours())
    torch.manual_seed(0)
    head = assemble({"head": task.head((8, 4, 4), task.outputs(dataset))})
    x_BCHW = torch.nn.functional.interpolate(dataset.train.images_NCHW[:count].float() / 60 - 1, size=(4, 4))
    _, targets = task.batch(x_BCHW, dataset.train.wanted[:count])
    return head, torch.cat([x_BCHW, x_BCHW.square(), torch.ones(count, 2, 4, 4)], 1), targets


def value(task, outputs, targets) -> float:
    meter = task.meter()
    meter.update(outputs, targets)
    return meter.value()


@tasks
def test_the_loss_falls_on_one_batch(task):
    head, x_BCHW, targets = batch(task)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = task.loss(head(x_BCHW), targets)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert loss.shape == () and losses[-1] < 0.7 * losses[0]


@tasks
def test_what_the_loss_likes_best_the_metric_likes_best(task):
    head, x_BCHW, targets = batch(task)
    outputs = torch.zeros_like(head(x_BCHW)).requires_grad_()
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        task.loss(outputs, targets).backward()
        optimizer.step()
    best = task.metric.score(value(task, outputs.detach(), targets))
    torch.manual_seed(1)
    others = [task.metric.score(value(task, torch.randn_like(outputs), targets)) for _ in range(20)]
    assert best >= max(others)
    assert value(task, outputs.detach(), targets) == value(task, outputs.detach(), task.answer(outputs.detach()))


@tasks
def test_the_meter_adds_batches_up(task):
    head, x_BCHW, targets = batch(task)
    outputs = head(x_BCHW).detach()
    meter = task.meter()
    for part in (slice(0, 5), slice(5, 7), slice(7, None)):
        meter.update(outputs[part], targets[part])
    assert meter.value() == pytest.approx(value(task, outputs, targets))


@tasks
def test_a_network_is_its_own_best_teacher(task):
    head, x_BCHW, _ = batch(task)
    outputs = head(x_BCHW).detach().requires_grad_()
    task.soft_loss(outputs, task.soften(outputs.detach())).backward()
    torch.testing.assert_close(outputs.grad, torch.zeros_like(outputs), atol=1e-6, rtol=0)


@tasks
def test_preparing_twice_is_preparing_once(task):
    once = task.prepare(colours())
    twice = task.prepare(once)
    assert torch.equal(once.train.wanted, twice.train.wanted) and torch.equal(once.val.wanted, twice.val.wanted)
    assert isinstance(task.augment(once), Augment)


@tasks
def test_the_contract_round_trips_and_its_program_runs(task, capsys):
    classes = ("red", "green", "blue")
    outputs = task.contract(classes)
    contract = Contract(Preparation(8, 8, (0.3,) * 3, (0.2,) * 3), classes, output_name=outputs.name, task=task.name)
    assert Contract.from_metadata(contract.to_metadata()) == contract
    assert outputs.network and outputs.meaning and not outputs.network.endswith(".")
    head, x_BCHW, _ = batch(task)
    told = {key: json.loads(text) for key, text in contract.to_metadata().items()}
    code = compile(outputs.usage, "usage", "exec")
    exec(code, {"output": head(x_BCHW)[0].detach().numpy(), "told": told})  # noqa: S102 - the text under test
    assert capsys.readouterr().out.strip()


def test_a_contract_keeps_the_name_of_its_task():
    contract = Contract(Preparation(8, 8, (0.3,), (0.2,)), (), output_name="image", task="mine.py:DENOISING")
    assert Contract.from_metadata(contract.to_metadata()) == contract
    older = {name: text for name, text in contract.to_metadata().items() if name != "task"}
    assert Contract.from_metadata(older).task == "classification"


def test_classification_is_that_of_the_files():
    task = TASKS["classification"]
    assert task.metric == TOP_1 and task.metric.key == "accuracy" and task.metric.text(71.234) == "71.23 %"
    assert value(task, torch.eye(4)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 3])) == 75
    assert task.meter().value() == 0


def test_metrics_know_their_direction_and_round_trip():
    error = Metric("mae", "mean absolute error", "", higher_is_better=False)
    assert error.score(1.0) > error.score(2.0) and error.text(1.5, 1) == "1.5"
    assert Metric.from_json(json.loads(json.dumps(error.to_json()))) == error
    assert Metric.from_json(None) == TOP_1
    for wrong in ({}, [], {"key": "x", "name": "x", "unit": 3, "higher_is_better": True}):
        with pytest.raises(NetwrightError, match="Not a metric"):
            Metric.from_json(wrong)


def test_a_class_of_ones_own_is_refused_with_what_is_needed():
    with pytest.raises(NetwrightError, match="a Task is needed"):
        TASKS.find(type(TASKS["classification"]))
    with pytest.raises(NetwrightError, match="Did you mean 'classification'"):
        TASKS.find("clasification")


def test_targets_go_along_with_their_images():
    images = colours().train
    targets = images.images_NCHW.float().mean((1, 2, 3))
    both = dataclasses.replace(images, targets=targets)
    index = torch.tensor([5, 1, 7])
    assert torch.equal(both.select(index).wanted, targets[index])
    assert torch.equal(both.take(6).images_NCHW.float().mean((1, 2, 3)), both.take(6).wanted)
    with pytest.raises(NetwrightError, match="one an image"):
        ImageSet(images.images_NCHW, images.labels_N, targets[:-1])
