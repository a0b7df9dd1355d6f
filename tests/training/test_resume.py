"""A training killed at any point and resumed ends in the very bytes of one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import netwright.training.checkpoint as checkpoint
from netwright.core.errors import NetwrightError
from netwright.training.loop import train_network, train_supernet
from netwright.training.methods.table import METHODS
from netwright.training.recipe import Recipe
from tests.training.small import colours, small_recipe, small_run, small_supernet


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _train(path: Path, recipe: Recipe, seed: int = 0) -> bytes:
    train_supernet(small_supernet(seed), colours(), recipe, small_run(path, recipe))
    return (path / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.training.killed", str(folder), "0.01"]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_killed_process_resumes_to_the_same_bytes(killed, tmp_path, method):
    recipe = small_recipe(method, checkpoint_steps=1, log_every=1)
    run = small_run(killed / method, recipe)
    assert not (run.path / "model.safetensors").exists()  # else nothing was interrupted
    resumed = _train(run.path, recipe, seed=7)  # other initial weights: all that counts is in the checkpoint
    assert resumed == _train(tmp_path / "whole", recipe)
    whole = small_run(tmp_path / "whole", recipe).metrics()
    timeless = [[{k: v for k, v in r.items() if k != "images_per_s"} for r in m] for m in (run.metrics(), whole)]
    assert timeless[0] == timeless[1]
    assert not list(run.path.glob(".*.tmp"))


class Killed(BaseException):
    """Stands for a kill at a chosen point."""


@pytest.mark.parametrize("method", METHODS)
def test_resumes_to_the_same_bytes_from_every_step(tmp_path, monkeypatch, method):
    recipe = small_recipe(method, epochs=2, evaluate_every=0, checkpoint_steps=1)
    whole = _train(tmp_path / "whole", recipe)
    real = checkpoint.save_state

    def save_and_die(path, state):
        real(path, state)
        raise Killed

    monkeypatch.setattr(checkpoint, "save_state", save_and_die)
    for _ in range(6):
        with pytest.raises(Killed):
            _train(tmp_path / "parts", recipe)
    monkeypatch.undo()
    assert _train(tmp_path / "parts", recipe) == whole


def test_finished_run_is_not_trained_again(tmp_path):
    recipe = small_recipe("sandwich", epochs=1)
    whole = _train(tmp_path, recipe)
    records = small_run(tmp_path, recipe).metrics()
    assert _train(tmp_path, recipe, seed=3) == whole
    assert small_run(tmp_path, recipe).metrics() == records


def test_adamw_and_one_network_resume(tmp_path, monkeypatch):
    recipe = small_recipe("static", optimizer="adamw", learning_rate=0.01, checkpoint_steps=4, ema_decay=0)

    def train(path: Path, seed: int) -> bytes:
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(288, 3)
        )
        train_network(net, colours(), recipe, resolution=8, run=small_run(path, recipe))
        return (path / "model.safetensors").read_bytes()

    whole = train(tmp_path / "whole", 0)
    real = checkpoint.save_state

    def save_and_die(path, state):
        real(path, state)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_state", save_and_die)
        with pytest.raises(Killed):
            train(tmp_path / "parts", 0)
    assert train(tmp_path / "parts", 1) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_says_how_to_resume(tmp_path, capsys, number):
    recipe = small_recipe("sandwich", epochs=2000, evaluate_every=0, log_every=1)

    def interrupt():
        while not (tmp_path / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        _train(tmp_path, recipe)
    thread.join()
    assert signal.getsignal(number) is handler
    assert "Repeat the command to resume" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_diverged_training_stops_and_keeps_the_last_checkpoint(tmp_path):
    recipe = small_recipe("random", learning_rate=1e30, grad_clip=0, checkpoint_steps=1, warmup_epochs=0, ema_decay=0)
    with pytest.raises(NetwrightError, match=r"diverged.*") as caught:
        _train(tmp_path, recipe)
    assert "learning_rate" in str(caught.value)
    kept = tmp_path / "checkpoint.safetensors"
    if kept.exists():
        assert all(t.isfinite().all() for t in checkpoint.load_state(kept)["weights"].values())


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "shape", "optimizer", "recipe"])
def test_damaged_checkpoint_is_named_with_what_to_do(tmp_path, damage):
    recipe = small_recipe("sandwich", epochs=1)
    _train(tmp_path, recipe)
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    state = checkpoint.load_state(path)
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        path.write_bytes(bytes(reversed(content)))
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        if damage == "shape":
            state["weights"]["net.stem.conv.weight"] = torch.zeros(1)
        elif damage == "optimizer":
            state["optimizer"] = {"9999": {"momentum_buffer": torch.zeros(1)}}
        else:
            state["recipe"]["learning_rate"] = 3.0
        checkpoint.save_state(path, state)
    with pytest.raises(NetwrightError, match=r"checkpoint\.safetensors.*delete the file"):
        _train(tmp_path, recipe)
