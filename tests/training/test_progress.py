"""What a training says before it starts and while it runs: by time, truly, and on standard error only."""

from __future__ import annotations

import itertools
import math
import re
import types

import pytest
import torch

from netwright.core.metric import TOP_1
from netwright.training import monitor
from netwright.training.lesson import Stage
from netwright.training.loop import train_supernet
from netwright.training.monitor import SHOW_EVERY_S, Monitor
from netwright.training.recipe import recipe
from netwright.training.schedule import Schedule
from tests.training.small import colours, small_recipe, small_supernet


@pytest.fixture
def clock(monkeypatch):
    """A clock of the monitor's that the test sets."""
    made = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(monitor, "time", types.SimpleNamespace(monotonic=lambda: made.now))
    return made


def shown(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_progress_comes_after_the_first_step_and_then_by_time(clock, capsys):
    settings = recipe("random", epochs=10, log_every=50)
    watched = Monitor(Schedule.of([Stage("all", 1.0, ())], settings, 100), TOP_1, None, speaks=True)
    at = []
    for step in range(120):
        clock.now += 3.0
        watched.step(step, torch.tensor(2.0 + step))
        at += [step] * len(shown(capsys))
    assert at[0] == 0
    assert all((later - earlier) * 3.0 < SHOW_EVERY_S + 3.0 for earlier, later in itertools.pairwise(at))
    assert len(at) <= 1 + 120 * 3.0 / SHOW_EVERY_S


def test_what_progress_says_is_so(clock, capsys):
    settings = recipe("random", epochs=0.5, log_every=50, batch_size=32)
    watched = Monitor(Schedule.of([Stage("all", 1.0, ())], settings, 20), TOP_1, None, speaks=True)
    lines = []
    for step in range(10):
        clock.now += 4.0
        watched.step(step, torch.tensor(float(step)))
        lines += shown(capsys)
    assert lines[0] == "step 1 of 10, epoch 0.05 of 0.5 (all): loss 0.000, 8 images/s, about 36 s left"
    assert lines[1] == "step 4 of 10, epoch 0.2 of 0.5 (all): loss 1.500, 8 images/s, about 24 s left"
    assert lines[-1] == "step 10 of 10, epoch 0.5 of 0.5 (all): loss 4.500, 8 images/s, about 0 s left"


def test_the_time_left_counts_stages_whose_steps_cost_more(clock, capsys):
    settings = recipe("random", epochs=1)
    schedule = Schedule.of([Stage("one", 0.5, ()), Stage("four", 0.5, ())], settings, 20)
    watched = Monitor(schedule, TOP_1, None, speaks=True, work=[1.0, 4.0])
    clock.now += 1.0
    watched.step(0, torch.tensor(1.0))
    assert shown(capsys)[0].endswith("about 49 s left")  # 9 steps of one second, 10 of four


def test_the_plan_names_steps_machine_and_stages_without_a_step(capsys):
    plan = small_recipe("progressive", epochs=0.1, evaluate_every=0)
    train_supernet(small_supernet(), colours(), plan)
    lines = shown(capsys)
    assert re.match(r"Training: 1 steps of 24 images, 0\.3333 epochs of 3 steps, on .+", lines[0])
    assert "too few steps for the stages kernel, depth, width" in lines[0]
    assert lines[1].startswith("step 1 of 1, epoch 0.3333 of 0.3333 (largest)")


def test_the_work_of_a_stage_grows_with_the_networks_of_a_step(monkeypatch):
    told = []

    def watched(*given, **named):
        told.append(given[5])
        return Monitor(*given, **named)

    monkeypatch.setattr("netwright.training.loop.Monitor", watched)
    train_supernet(small_supernet(), colours(), small_recipe("progressive", epochs=2, evaluate_every=0))
    largest, kernel, depth, width = told[0]
    assert largest < kernel < width and all(map(math.isfinite, (largest, kernel, depth, width)))
