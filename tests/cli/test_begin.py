"""How a training begins: the size of its images, what it says first, and what it refuses before an image is read."""

from __future__ import annotations

import fcntl
import json
import os
import shlex

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.core.lock import sole_writer
from netwright.report.facts import Facts
from netwright.report.sections import commands
from netwright.workflow.size import choose_size
from netwright.workflow.source import Source
from netwright.workflow.train import begin
from tests.cli.test_verbs import assert_refused, result


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of two classes of images whose shorter side is 100 pixels."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 256, (100, 140, 3) if number % 2 else (160, 100, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")
    return folder


def mine(*, classes=10, size=32):
    from netwright.models.families import family

    return family("tiny", classes=classes, size=size)


def needs_a_size(*, classes, size):
    return mine(classes=classes, size=size)


@pytest.mark.parametrize(
    ("side", "gpu", "chosen"),
    [(8, False, 32), (31, True, 32), (32, True, 32), (63, False, 32), (64, False, 64), (96, False, 96)]
    + [(160, False, 96), (160, True, 160), (159, True, 128), (3000, True, 224), (3000, False, 96), (None, True, 32)],
)
def test_the_size_follows_from_the_images_and_the_machine(monkeypatch, side, gpu, chosen):
    monkeypatch.setattr("netwright.data.load.look_at", lambda source: (100, side))
    found, reason = choose_size("photographs", gpu)
    assert found == chosen
    assert ("without a GPU" in reason) == (chosen == 96 and side != 96)


def test_images_that_would_not_fit_into_the_memory_are_made_smaller(monkeypatch):
    monkeypatch.setattr("netwright.data.load.look_at", lambda source: (1_000_000, 300))
    monkeypatch.setattr("netwright.data.decode.free_memory", lambda: 25_000_000_000)
    found, reason = choose_size("photographs", gpu=True)
    assert found == 64 and "would not fit into the memory" in reason


@pytest.mark.parametrize(
    "space", ["tiny", "mobilenet-v3-small", "mcunet", "vit", "proxyless-small", mine, needs_a_size]
)
def test_photographs_are_not_trained_at_32_pixels_without_a_word(photographs, tmp_path, capsys, space):
    run = begin(photographs, space=space, out=tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Images are used at 96 x 96 pixels: their shorter side is typically 100")
    assert "--size" in said[0]
    assert run.config["data"]["size"] == max(run.family.space.resolutions) == run.dataset.train.size == 96
    again = begin(photographs, space=space, out=tmp_path / "run")
    assert again.config == run.config
    assert begin(photographs, space=space, out=tmp_path / "run", size=96).config == run.config


def test_the_plan_is_said_before_the_first_step(photographs, tmp_path, capsys):
    begin(photographs, space="tiny", out=tmp_path / "run", recipe="sandwich")
    plan = capsys.readouterr().err.splitlines()[-1]
    for part in ("12 images to train on", "2 held out", "2 for validation", "2 classes", "Space tiny", "84, 96 pixels"):
        assert part in plan
    assert "recipe sandwich" in plan and str(tmp_path / "run") in plan


def test_what_says_a_size_itself_wins(photographs, tmp_path):
    def size_of(name, space="tiny", **settings):
        run = begin(photographs, space=space, out=tmp_path / name, **settings)
        assert run.dataset.train.size == run.config["data"]["size"]
        return run.config["data"]["size"]

    assert size_of("asked", size=48) == 48
    assert size_of("set", **{"space.size": 40}) == 40
    assert size_of("fixed", space="ofa-resnet50") == 224
    assert size_of("own", space=lambda classes: mine(classes=classes, size=24)) == 24
    assert size_of("small", space=mine, size=32) == 32
    assert size_of("small", space=mine) == 32  # the run's


def test_a_run_keeps_its_size_on_another_machine(photographs, tmp_path, monkeypatch):
    begin(photographs, space="tiny", out=tmp_path / "run")
    monkeypatch.setattr("netwright.workflow.size.choose_size", lambda source, gpu: pytest.fail("chosen again"))
    assert begin(photographs, space="tiny", out=tmp_path / "run").dataset.train.size == 96


def test_small_images_stay_at_32_pixels(tmp_path, capsys):
    run = begin("digits", space="tiny", out=tmp_path / "run")
    assert run.config["data"]["size"] == 32
    assert "32 x 32 pixels: their shorter side is typically 8; --size" in capsys.readouterr().err


# --- what is known from the arguments is checked before an image is read


@pytest.fixture
def unread(monkeypatch):
    def load(self):
        raise AssertionError("the images were read first")

    monkeypatch.setattr(Source, "load", load)
    monkeypatch.setattr("netwright.workflow.size.choose_size", lambda source, gpu: (32, "for the test"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 7}, r"recipe\.epochs is 30\.0 there and 7"),
        ({"recipe": "sandwich"}, r"recipe\.method is 'progressive' there and 'sandwich' now"),
        ({"size": 64}, r"data\.size is 96 there and 64 now"),
        ({"space": "vit"}, "space is 'tiny' there and 'vit' now"),
        ({"space.normalization": "group"}, r"settings\.normalization is 'batch' there and 'group' now"),
        ({"data.seed": 3}, r"data\.seed is 0 there and 3 now"),
        ({"data": "digits"}, r"data\.source"),
    ],
)
def test_settings_that_differ_from_the_runs(photographs, tmp_path, settings, says, request):
    begin(photographs, space="tiny", out=tmp_path / "run")
    request.getfixturevalue("unread")
    with pytest.raises(NetwrightError, match=rf"other settings \(.*differ\): .*{says}"):
        begin(**{"data": photographs, "space": "tiny", "out": tmp_path / "run", **settings})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"precision": "fp16"}, "needs a GPU"),
        ({"stages": (1.0, 2.0)}, "progressive takes 4"),
        ({"recipe": "random", "method": "FILE.py:NAME"}, "FILE.py"),
        ({"data.val_fraction": 2}, "val_fraction"),
        ({"size": 2}, "--size is 2"),
        ({"size": True}, "--size is True"),
    ],
)
def test_settings_that_cannot_train_here(unread, tmp_path, monkeypatch, settings, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(NetwrightError, match=says):
        begin("digits", space="tiny", out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_processes_cannot_share(unread, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(NetwrightError, match="batch_size 128 cannot be cut into 1 parts for each of 3 processes"):
        begin("digits", space="tiny", out=tmp_path / "run")


def test_directories_that_cannot_be_a_run(unread, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for out, says in (
        ("file", "exists and is not"),
        ("file/run", "is no folder"),
        ("other", "another program wrote it"),
    ):
        with pytest.raises(NetwrightError, match=says) as caught:
            begin("digits", space="tiny", out=tmp_path / out)
        assert "None" not in str(caught.value)


def test_a_run_that_is_written_at_this_moment(photographs, tmp_path, request):
    begin(photographs, space="tiny", out=tmp_path / "run")
    request.getfixturevalue("unread")
    with (tmp_path / "run" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(str(os.getppid()))
        held.flush()
        with pytest.raises(NetwrightError, match=f"Process {os.getppid()} writes into"):
            begin(photographs, space="tiny", out=tmp_path / "run")


# --- the command


@pytest.mark.parametrize(
    "words", [["search", "--macs", "5M"], ["report"], ["deploy", "--arch", "smallest", "--out", "new"]]
)
def test_a_folder_of_another_program_is_named_as_what_it_is(call, tmp_path, words):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert_refused(call(words[0], tmp_path, *words[1:]), "is not a netwright run", "netwright train --out")


def test_help_lists_the_spaces(call):
    from netwright.models.families import SPACES

    shown = "".join(call("train", "--help").out.split())
    assert all(name in shown for name in SPACES)


def test_the_command_keeps_a_fraction_of_an_epoch_and_its_output_clean(call, photographs, tmp_path):
    words = ["train", photographs, "--space", "tiny", "--size", "32", "--out", tmp_path / "a run", "--epochs", "0.1"]
    told = result(call, *words, "--set", "batch_size=4", "--set", "calibration_images=8")
    records = [json.loads(line) for line in (tmp_path / "a run" / "metrics.jsonl").read_text().splitlines()]
    assert {record["step"] for record in records} == {1}  # a tenth of three steps an epoch: one
    assert told["run"] == str(tmp_path / "a run")
    done = call(*words, "--set", "batch_size=4", "--set", "calibration_images=8")
    assert f"netwright search '{tmp_path / 'a run'}' --latency 2ms" in done.out


@pytest.mark.parametrize(
    ("space", "settings"),
    [
        ("tiny", {"epochs": 0.5, "batch_size": 4, "stages": (1.0, 1.0, 2.0, 1.0), "data.seed": 3}),
        ("mcunet", {"recipe": "sandwich", "size": 48}),
        ("mobilenet-v3-small", {"recipe": "random", "space.normalization": "group"}),
        ("vit", {"grad_clip": 0.0}),
        ("ofa-resnet50", {}),
    ],
)
def test_the_command_in_the_report_opens_the_run_again(photographs, tmp_path, monkeypatch, call, space, settings):
    monkeypatch.chdir(tmp_path)
    run = begin(photographs, space=space, out="a run", **settings)
    monkeypatch.setattr("netwright.workflow.train.go_on", lambda run, callback: None)
    words = shlex.split(commands(Facts.of(run.run))[0])
    done = call(*words[1:])
    assert done.code == 0, done.err


def test_two_searches_of_one_run_do_not_write_at_once(call, trained):
    with sole_writer(trained):
        assert_refused(call("search", trained, "--macs", "5M"), f"writes into {trained} at this moment")
    assert not (trained / "evaluations.jsonl").exists()
