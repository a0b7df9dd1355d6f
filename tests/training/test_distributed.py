"""Two processes under torchrun train as one does that accumulates both their shares."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from netwright.core.run import Run
from netwright.training.loop import train_supernet
from netwright.training.methods.table import METHODS
from tests.training.small import colours, small_recipe, small_supernet
from tests.training.test_own_methods import OWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "tests.training.together", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, timeout=240, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("method", [*METHODS, OWN.name])
def test_equals_one_process_that_accumulates(folder, method):
    # Without BatchNorm and augmentation: shard r of step s is part r of the accumulated batch s.
    supernet = small_supernet(normalization="group")
    fields = {"augment": "none", "accumulate": 2}
    recipe = small_recipe(method, **fields) if method in METHODS else small_recipe("random", method=OWN, **fields)
    train_supernet(supernet, colours(), recipe)
    first, second = (torch.load(folder / f"{method}-{rank}.pt", weights_only=True) for rank in (0, 1))
    untrained = small_supernet(normalization="group").state_dict()
    assert max(float((first[name] - untrained[name]).abs().max()) for name in first) > 1e-2
    for name, alone in supernet.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], alone, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_first_process_writes(folder, method):
    run = Run.open(folder / method)
    records = run.metrics()
    steps = [record["step"] for record in records if record["kind"] == "train"]
    assert steps == sorted(set(steps)) and steps[-1] == 6
    evaluated = [record["arch"] for record in records if record["kind"] == "eval"]
    assert evaluated == ["largest", "middle", "smallest"]
    assert (run.path / "model.safetensors").exists() and (run.path / "checkpoint.safetensors").exists()


def test_a_callback_of_the_first_process_stops_all(folder):
    run = Run.open(folder / "stopped")
    assert [record["step"] for record in run.metrics()] == [1, 2, 3]  # the others hear of it in the next step
    assert not (run.path / "model.safetensors").exists() and (run.path / "checkpoint.safetensors").exists()


def test_a_batch_that_cannot_be_shared_is_an_error_everywhere(folder):
    for rank in (0, 1):
        assert "multiple of 2" in (folder / f"error-{rank}").read_text()
