"""A run whose folder of images changed: the commands say so and measure only on what was held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_verbs import result

FEW = {"batch_size": 8, "evaluate_every": 0, "warmup_epochs": 0, "subnets_per_step": 1, "calibration_images": 16}


def draw(folder, numbers):
    """Write dark cats and light dogs."""
    for kind, level in (("cat", 40), ("dog", 200)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            noise = np.random.default_rng(number + level).integers(-30, 30, (32, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / kind / f"{number:03}.png")


@pytest.fixture
def photo_run(tmp_path, monkeypatch):
    from netwright.workflow.train import train

    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "home"))
    draw(tmp_path / "photos", range(100, 130))
    run = train(tmp_path / "photos", space="tiny", out=tmp_path / "run", recipe="random", epochs=0.2, **FEW)
    return run


def test_deploy_measures_on_what_was_held_out_then(call, photo_run, tmp_path):
    held = {image.numpy().tobytes() for image in photo_run.validation.images_NCHW}
    searched = {image.numpy().tobytes() for image in photo_run.held_out.images_NCHW}
    draw(tmp_path / "photos", [*range(0, 20), *range(200, 210)])
    (tmp_path / "photos" / "cat" / "100.png").unlink()
    from netwright.workflow.open import open_run

    again = open_run(photo_run.path)
    assert {image.numpy().tobytes() for image in again.validation.images_NCHW} <= held
    assert {image.numpy().tobytes() for image in again.held_out.images_NCHW} <= searched
    told = result(call, "deploy", photo_run.path, "--arch", "smallest", "--out", tmp_path / "out")
    assert told["verification"]["images"] == len(again.validation)
    made = json.loads((tmp_path / "out" / "model.json").read_text())
    assert made["origin"]["training data since then"] == "60 new images are not used, 1 are missing"
    assert "60 new images" in (tmp_path / "out" / "README.md").read_text()


def test_compile_says_that_the_data_changed(call, photo_run, tmp_path):
    draw(tmp_path / "photos", range(3))
    done = call("compile", f"{photo_run.path}:smallest", "--out", tmp_path / "c")
    assert done.code == 0
    assert "6 new images are not used" in done.err
