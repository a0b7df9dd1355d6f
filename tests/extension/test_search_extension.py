"""A strategy and a limit from outside the package, through the library and the command line."""

from __future__ import annotations

import functools
import json
import shutil
from types import SimpleNamespace

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.tables import load_own

OWN = '''
from netwright.searching.candidates import Candidates
from netwright.searching.limits.kind import LimitKind


def first_come(space, score, limits, *, seed=0, count=12):
    """Evaluate the first networks that fit."""
    candidates = Candidates(space, score, limits, seed)
    candidates.evaluate(*candidates.collect(candidates.random, count))
    return candidates.result()


def input_elements(asked):
    """Elements that the blocks read, added up."""
    def price(block, *shapes):
        total = 0
        for channels, *rest in shapes:
            total += channels * (rest[0] * rest[1] if len(rest) == 2 else 1)
        return total
    return asked.additive(price)


ELEMENTS = LimitKind("elements", "elements", "elements", {"": 1.0, "K": 1e3}, input_elements, short=(1e3, "k elements"))
'''


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished run of a few steps."""
    from netwright.workflow.train import begin, go_on

    few = {"batch_size": 64, "evaluate_every": 0, "warmup_epochs": 0, "subnets_per_step": 1, "calibration_images": 64}
    path = tmp_path_factory.mktemp("trained") / "run"
    go_on(begin("digits", space="tiny", out=path, recipe="random", epochs=0.1, **few))
    return path


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def call(capfd, *words):
    from netwright.cli.main import app

    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words], prog_name="netwright")
    out, err = capfd.readouterr()
    return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)


def test_in_the_library(run, own):
    from netwright.workflow.search import search

    strategy, elements = load_own(f"{own}:first_come"), load_own(f"{own}:ELEMENTS")
    told = []
    found = search(
        run,
        strategy=strategy,
        limits={elements: 60e3},
        macs=2e6,
        evaluations=20,
        calibration_images=32,
        workers=1,
        listed=2,
        callback=told.append,
    )
    assert found.to_json() == json.loads(found.path.read_text())
    assert found.to_json()["strategy"] == "first_come"
    assert found.to_json()["budget"] == {"macs": 2e6, "elements": 60e3}
    assert found.best is found.candidates[0] and found.best.cost.macs <= 2e6
    assert {record["kind"] for record in told} == {"evaluated", "generation"}
    records = (run / "evaluations.jsonl").read_text().splitlines()
    assert sum(record["kind"] == "evaluated" for record in told) == len(records)


def test_on_the_command_line(run, own, capfd, monkeypatch):
    from netwright.workflow import search as work

    monkeypatch.setattr(work, "search", functools.partial(work.search, calibration_images=32, workers=1, listed=2))
    words = ["search", run, "--macs", "2M", "--limit", f"{own}:ELEMENTS=60K", "--strategy", f"{own}:first_come"]
    done = call(capfd, *words, "--evaluations", "20", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["budget"] == {"macs": 2e6, "elements": 60e3}
    (file,) = (run / "search").glob("*.json")
    assert json.loads(file.read_text())["strategy"] == f"{own}:first_come"


def test_a_callback_ends_the_search_and_what_was_evaluated_is_kept(run):
    from netwright.workflow.search import search

    count = 0

    def stop_at_twelve(record):
        nonlocal count
        count += record["kind"] == "evaluated"
        return count == 12

    found = search(run, macs=2e6, evaluations=20, calibration_images=32, workers=1, callback=stop_at_twelve)
    assert found.candidates and count == 12
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 12


def test_a_search_that_is_stopped_before_anything_was_learned_says_so(run):
    from netwright.workflow.search import search

    with pytest.raises(NetwrightError, match=r"stopped after 1 evaluations; it needs 10.*They are kept"):
        search(run, macs=2e6, evaluations=20, calibration_images=32, workers=1, callback=lambda record: True)
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"strategy": "evolutoin"}, "Did you mean 'evolution'"),
        ({"evaluations": 3}, "evaluations must be a whole number of at least 20"),
        ({"mac": 1}, "Did you mean 'macs'"),
        ({"latency_ms": "2"}, "latency_ms must be a number of ms greater than zero"),
        ({"device": "stm32f999"}, "Did you mean 'stm32f746'"),
        ({"limits": {"sram": 1e5}}, "prices of a microcontroller.*stm32f746"),
        ({"limits": {"energy": 1.0}}, "energies of device 'this'.*a100"),
        ({"limits": {"macs@full:1": 1.0}}, "takes no settings"),
        ({"limits": {"training_memory@full": 1e6}}, "MODE:BATCH"),
    ],
)
def test_what_is_refused(trained, settings, says):
    from netwright.workflow.search import search

    with pytest.raises(NetwrightError, match=says):
        search(trained, **({"macs": 2e6} | settings))
