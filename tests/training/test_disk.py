"""A disk that is full, and two processes in one run: nothing that was written is lost, and what is said is so."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys

import pytest

from netwright.core import json_lines
from netwright.core.errors import NetwrightError
from netwright.core.lock import sole_writer
from netwright.training import checkpoint, loop
from netwright.training.loop import train_supernet
from tests.training.small import colours, small_recipe, small_run, small_supernet


def _train(path, **fields):
    plan = small_recipe("random", evaluate_every=0, log_every=1, **fields)
    train_supernet(small_supernet(), colours(), plan, small_run(path, plan))


def _full(path, state):
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise NetwrightError(f"Cannot write {path}: No space left on device.") from error


def _fill_the_disk_at(monkeypatch, step):
    """Let checkpoints be written until a step, and no model."""
    real = checkpoint.save_state
    monkeypatch.setattr(
        checkpoint, "save_state", lambda path, state: (real if state["step"] < step else _full)(path, state)
    )
    monkeypatch.setattr(loop, "save_state", _full)


def test_a_full_disk_at_a_checkpoint_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    _train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_state", _full)
        _train(tmp_path / "full", checkpoint_steps=4)
    said = capsys.readouterr().err
    assert "no checkpoint yet: of the 4 steps nothing is kept. The training goes on" in said
    assert "Only the model is written" in said
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "full")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("full_from", "says"),
    [
        (1, "no checkpoint yet: of the 12 steps nothing is kept.*begin anew"),
        (7, "checkpoint after step 6 of 12 .*kept"),
    ],
)
def test_a_disk_that_stays_full_says_what_is_kept_and_keeps_it(tmp_path, monkeypatch, full_from, says):
    _train(tmp_path / "whole", checkpoint_steps=3)
    with monkeypatch.context() as patch:
        _fill_the_disk_at(patch, full_from)
        with pytest.raises(NetwrightError, match=rf"No space left on device.*{says}") as caught:
            _train(tmp_path / "full", checkpoint_steps=3)
        assert "held before" not in str(caught.value)
        assert (tmp_path / "full" / "checkpoint.safetensors").exists() == (full_from > 1)
    _train(tmp_path / "full", checkpoint_steps=3)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "full")]
    assert files[0] == files[1]


def test_records_that_cannot_be_written_end_the_training_with_a_checkpoint(tmp_path, monkeypatch):
    def full(path, record):
        if record["step"] == 5:
            _full(path, {})
        json_lines.append_line(path, record)

    with monkeypatch.context() as patch:
        patch.setattr("netwright.core.run.append_line", full)
        with pytest.raises(NetwrightError, match=r"metrics\.jsonl.*checkpoint after step 5 of 5 done is kept"):
            _train(tmp_path)
    _train(tmp_path)
    assert (tmp_path / "model.safetensors").exists()


def test_a_disk_without_room_for_a_checkpoint_is_refused_before_the_first_step(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(NetwrightError, match=r"0\.0 MB are free.*a checkpoint and the model need about 0\.\d MB"):
        _train(tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_that_another_process_trains_is_refused(tmp_path):
    code = (
        "import sys; from tests.training.test_disk import _train; from pathlib import Path; _train(Path(sys.argv[1]))"
    )
    plan = small_recipe("random", evaluate_every=0, log_every=1)
    small_run(tmp_path, plan)
    with sole_writer(tmp_path):
        ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert ended.returncode and "writes into" in ended.stderr
        assert not (tmp_path / "metrics.jsonl").exists()
    _train(tmp_path)
    steps = [record["step"] for record in small_run(tmp_path, plan).metrics() if record["kind"] == "train"]
    assert steps == sorted(set(steps))
