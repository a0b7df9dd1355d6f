"""Schedule, average, optimizer and objective, each against an independent computation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from netwright.models.families import family
from netwright.tasks.classify import CLASSIFICATION
from netwright.training.ema import Ema
from netwright.training.evaluate import landmarks
from netwright.training.lesson import Extra, Stage
from netwright.training.mixed_loss import mixed_loss
from netwright.training.optimizer import make_optimizer
from netwright.training.recipe import recipe
from netwright.training.schedule import Schedule, Span
from netwright.training.training import Training
from tests.training.small import small_supernet


def test_schedule_lays_stages_out_and_anneals_each():
    settings = recipe("progressive", epochs=10, learning_rate=1.0, stage_learning_rate=0.5, warmup_epochs=1)
    schedule = Schedule.of([Stage("a", 0.5, ()), Stage("b", 0.5, ())], settings, steps_per_epoch=20)
    assert schedule.steps == 200
    assert [(span.start, span.end) for span in schedule.spans] == [(0, 100), (100, 200)]
    rates = [schedule.learning_rate(step) for step in range(200)]
    for start, peak in ((0, 1.0), (100, 0.5)):
        part = rates[start : start + 100]
        assert part.index(max(part)) == 10 and max(part) == pytest.approx(peak)  # warm-up: at most a tenth
        assert part[:10] == sorted(part[:10]) and part[10:] == sorted(part[10:], reverse=True)
        assert part[:10] == pytest.approx([peak * (step + 1) / 11 for step in range(10)])  # the first step learns too
        assert 0 < part[-1] < 0.01 * peak
    assert schedule.epoch(45) == (2, 5)
    assert [step for step in range(200) if schedule.due(step, 4.0)] == [79, 159, 199]
    assert [step for step in range(200) if schedule.due(step, 0)] == [199]


def test_every_stage_has_a_step():
    stages = [Stage("a", 100.0, ()), *(Stage(name, 1.0, ()) for name in "bcd")]
    schedule = Schedule.of(stages, recipe("progressive", epochs=0.5), 10)
    assert [(span.start, span.end) for span in schedule.spans] == [(0, 2), (2, 3), (3, 4), (4, 5)]


@pytest.mark.parametrize("epochs", [0.01, 0.1, 0.25, 0.3, 0.5, 1, 1.7, 3])
@pytest.mark.parametrize("steps_per_epoch", [1, 3, 10, 21])
@pytest.mark.parametrize("shares", [(1.0,), (0.4, 0.15, 0.2, 0.25), (0.01, 0.01, 5.0), (9.0, 0.1, 0.1, 0.1, 0.1)])
def test_the_epochs_asked_for_are_kept_to_the_step(epochs, steps_per_epoch, shares):
    stages = [Stage(str(index), share, ()) for index, share in enumerate(shares)]
    schedule = Schedule.of(stages, recipe("progressive", epochs=epochs), steps_per_epoch)
    assert schedule.steps == max(1, round(epochs * steps_per_epoch))
    assert schedule.epochs == schedule.steps / steps_per_epoch
    ends = [0, *(span.end for span in schedule.spans)]
    assert [span.start for span in schedule.spans] == ends[:-1]
    assert all(span.end > span.start for span in schedule.spans)
    assert [span.stage for span in schedule.spans] == stages[: schedule.steps]


def test_average_equals_torch_after_the_ramp():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ema = Ema(net, 0.5)
    reference = AveragedModel(net, avg_fn=lambda a, p, _: (a + p) / 2 if a.is_floating_point() else p, use_buffers=True)
    reference.update_parameters(net)
    for step in range(20, 25):  # past (1 + t) / (10 + t) = 0.5
        with torch.no_grad():
            net[0].weight.normal_()
        net(torch.randn(8, 3))
        ema.update(net, step)
        reference.update_parameters(net)
    for name, tensor in reference.module.state_dict().items():
        torch.testing.assert_close(ema.tensors[name].float(), tensor.float(), rtol=1e-6, atol=1e-7, msg=name)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with ema.applied(net):
        assert torch.equal(net[0].weight, ema.tensors["0.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_average_follows_closely_at_first():
    net = torch.nn.Linear(2, 2)
    ema = Ema(net, 0.999)
    start = ema.tensors["weight"].clone()
    with torch.no_grad():
        net.weight.add_(1.0)
    ema.update(net, 0)
    torch.testing.assert_close(ema.tensors["weight"], start + 0.9)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_norms_biases_and_transforms_do_not_decay(kind):
    supernet = small_supernet()
    settings = recipe("sandwich", optimizer=kind, weight_decay=0.5, learning_rate=0.1)
    optimizer = make_optimizer(supernet, settings)
    before = {name: parameter.detach().clone() for name, parameter in supernet.named_parameters()}
    for parameter in supernet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = {name for name, parameter in supernet.named_parameters() if not torch.equal(parameter, before[name])}
    assert shrunk == {name for name in before if name.startswith("net.") and before[name].ndim > 1}


def test_objective_mixes_hard_and_soft_targets():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    soft = torch.randn(5, 3).softmax(1)
    hard = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    distilled = -(soft * logits.log_softmax(1)).sum(1).mean()
    for share in (0.0, 0.25, 1.0):
        settings = recipe("sandwich", distillation_weight=share, label_smoothing=0.1)
        torch.testing.assert_close(
            mixed_loss(logits, labels, soft, settings, CLASSIFICATION), share * distilled + (1 - share) * hard
        )
        torch.testing.assert_close(mixed_loss(logits, labels, None, settings, CLASSIFICATION), hard)


def training(*extras: Extra) -> Training:
    """Return a training of one layer, after a step with momentum."""
    made = Training(torch.nn.Linear(2, 2), recipe("static"), torch.device("cpu"), extras=extras)
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.update(0.5, 0)
    return made


def test_parameters_beside_the_networks_have_a_rate_of_their_own():
    made = training(Extra(torch.nn.Linear(1, 1), learning_rate=0.1))
    rates = [
        {group["lr"] for group in optimizer.param_groups} for optimizer in (made.optimizer, *made.extra_optimizers)
    ]
    assert rates == [{0.5}, {0.05}]


def test_a_stage_begins_with_a_fresh_optimizer_and_average():
    made = training()
    assert made.optimizer.state
    made.begin(Span(Stage("second", 1.0, ()), 1, 2))
    assert not made.optimizer.state
    assert made.ema and all(torch.equal(made.ema.tensors[n], p) for n, p in made.module.named_parameters())


def test_the_middle_network_that_is_watched_lies_between_the_others():
    made = family("tiny")
    macs = {name: made.macs(arch) for name, arch in landmarks(made.space).items()}
    assert macs["smallest"] < macs["middle"] < macs["largest"]
