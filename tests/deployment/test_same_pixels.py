"""Forty kinds of image file: training's loading, the card's code and the ONNX contract prepare them to the same pixels."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from netwright.data import eval_batches, load_dataset
from netwright.data.preparation import Preparation, read_image
from netwright.deployment.card import USAGE
from netwright.deployment.contract import Contract
from tests.kinds import kinds

MEAN, STD = (0.4, 0.5, 0.61), (0.2, 0.25, 0.3)
SIZE = 32
KINDS = kinds()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose validation images are the kinds, twice."""
    path = tmp_path_factory.mktemp("kinds")
    for part, names in (("train", ["rgb.png"]), ("val", sorted(KINDS))):
        for label in ("a", "b"):
            (path / part / label).mkdir(parents=True)
            for name in names:
                (path / part / label / name).write_bytes(KINDS[name])
    return path


def trained_on(folder: Path, resolution: int) -> dict[str, np.ndarray]:
    """Return what a network sees of each file when it is trained and evaluated."""
    data = load_dataset(str(folder), size=SIZE)
    assert data.skipped == ()
    batches = list(eval_batches(data.val, mean=MEAN, std=STD, resolution=resolution, batch_size=7))
    x_NCHW = torch.cat([x for x, _ in batches]).numpy()
    return dict(zip(sorted(KINDS), x_NCHW, strict=False))


def shown_by_the_card(contract: Contract, file: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Run the program of the card on a file and return what it gives to the network."""
    seen: list[np.ndarray] = []

    def run(outputs: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        seen.append(given[contract.input_name])
        return [np.zeros((1, 2), np.float32)]

    told = SimpleNamespace(custom_metadata_map=contract.to_metadata())
    session = SimpleNamespace(get_modelmeta=lambda: told, run=run)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=lambda path: session))
    monkeypatch.setattr(sys, "argv", ["run.py", str(file)])
    exec(compile(USAGE, "card", "exec"), {})  # noqa: S102 - the program under test
    return seen[0]


def test_there_are_about_forty_kinds() -> None:
    assert len(KINDS) >= 40


@pytest.mark.parametrize("resolution", [32, 24, 20, 48])
def test_training_the_card_and_the_contract_give_the_same_pixels(
    folder: Path, resolution: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Preparation(resolution, resolution, MEAN, STD, decoded_size=SIZE)
    contract = Contract(how, ("a", "b"))
    read = Contract.from_metadata(contract.to_metadata()).preparation
    expected = trained_on(folder, resolution)
    level = 1 / (255 * min(STD))  # of grey
    for name, content in KINDS.items():
        x_CHW = shown_by_the_card(contract, folder / "val" / "a" / name, monkeypatch)
        assert x_CHW.dtype == np.float32 and x_CHW.shape == (1, 3, resolution, resolution)
        if resolution == SIZE:
            assert np.array_equal(x_CHW[0], expected[name]), name
        else:  # resampled in another order of additions
            assert np.abs(x_CHW[0] - expected[name]).max() < 1e-3 * level, name
        assert np.array_equal(read_image(content, read)[0].numpy(), expected[name]), name


def test_the_kinds_differ_by_what_is_honoured(folder: Path) -> None:
    """Without EXIF, transparency or depth these would be equal, or nothing."""
    x = trained_on(folder, SIZE)
    assert np.abs(x["exif-1.jpg"] - x["exif-6.jpg"]).mean() > 0.1
    assert np.array_equal(np.rot90(x["exif-3.png"], 2, (1, 2)), x["rgb.png"])
    assert np.abs(x["rgba.png"] - x["rgb.png"]).mean() > 0.1
    for name in ("grey-16.png", "grey-16.tif", "grey-16.pgm", "grey-32.tif", "grey-32-of-16.tif"):
        assert np.abs(x[name] - x["grey.png"]).max() < 2.1 / (255 * min(STD)), name
    assert x["dark-16.png"].max() < x["grey.png"].mean()


def test_a_preparation_survives_its_json() -> None:
    how = Preparation(20, 24, (0.5,), (0.25,), 1.0, 32, "bilinear", 0.875, "grey")
    assert Preparation.from_json(how.to_json()) == how
    assert Preparation.from_json({**how.to_json(), "of_later": 1}) == how
    assert "bilinear" in how.words() and "20 x 24" in how.words()


def test_a_contract_of_an_older_file_is_read() -> None:
    entries = {"size": "28", "mean": "[0.4, 0.5, 0.6]", "std": "[0.2, 0.2, 0.2]", "classes": '["a"]'}
    read = Contract.from_metadata({**entries, "input_name": '"images"', "output_name": '"logits"'})
    assert read.preparation == Preparation(28, 28, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
