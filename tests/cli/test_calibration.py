"""Modules on the way to a microcontroller: the input they are made for, and images that need no classes."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.graph.integers.interpret import interpret
from netwright.workflow.calibration import quantized_module
from tests.cli.test_verbs import assert_refused, result

NETS = """
from torch import nn

def net(channels=3):
    layers = nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    return nn.Sequential(*layers)

def grey():
    return net(1)

def only_32():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 16 * 16, 2))

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, y):
        return self.conv(x) + self.conv(y)

class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))

class Branch(Two):
    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x
"""


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def photos(tmp_path):
    """Return a folder of four images of different sizes, without classes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        _write(folder / f"{number}.png", rng.integers(0, 256, (40, 40 + number, 3), dtype=np.uint8))
    return folder


def _write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _input(model):
    return model.graph.tensors[model.graph.inputs[0]].shape[1:]


@pytest.mark.parametrize(
    ("name", "shape", "taken"),
    [("net", "1x3x32x32", (32, 32, 3)), ("net", "1x3x16x24", (16, 24, 3)), ("grey", "1x1x20x12", (20, 12, 1))],
)
def test_the_stated_input_is_the_networks(nets, photos, name, shape, taken):
    assert _input(quantized_module(f"{nets}:{name}", str(photos), shape)) == taken


def test_the_command_takes_an_input(call, nets, photos, tmp_path):
    told = result(
        call, "compile", f"{nets}:only_32", "--data", photos, "--input", "1x3x32x32", "--out", tmp_path / "net"
    )
    assert told["macs"] == 16 * 16 * 4 * 27 + 4 * 16 * 16 * 2


def test_one_channel_is_the_luma_of_the_images(nets, tmp_path):
    """Two images of one colour each have two greys; normalized with their own statistics these are -1 and 1."""
    _write(tmp_path / "two" / "red.png", np.full((8, 8, 3), (255, 0, 0), np.uint8))
    _write(tmp_path / "two" / "green.png", np.full((8, 8, 3), (0, 255, 0), np.uint8))
    from netwright.workflow.calibration import _images, _of_name

    pixels = _images(str(tmp_path / "two"), 8, grey=True)[0]
    greys = [np.asarray(Image.new("RGB", (1, 1), colour).convert("L")).item() for colour in ("#ff0000", "#00ff00")]
    assert pixels[:, 0].unique().tolist() == sorted(greys)
    _, batches = _of_name(f"{nets}:grey", str(tmp_path / "two"), "1x1x8x8")
    assert batches[0].shape == (2, 1, 8, 8)
    assert batches[0].unique().tolist() == pytest.approx([-1, 1], abs=1e-2)


@pytest.mark.parametrize(
    ("name", "shape", "parts"),
    [
        ("net", None, ["nets.py:net", "--input"]),
        ("net", "1x3xbig", ["1x3xbig"]),
        ("net", "2x3x32x32", ["2x3x32x32", "1x1x28x28"]),
        ("net", "1x4x32x32", ["1x4x32x32"]),
        ("net", "1x3x32", ["1x3x32"]),
        ("net", "1x3x32x32:int64", ["int64"]),
        ("net", "1x3x9999x9999", ["4096"]),
        ("grey", "1x3x32x32", ["1x3x32x32", "--input states"]),
        ("only_32", "1x3x16x16", ["1x3x16x16", "--input states"]),
        ("Two", "1x3x32x32", ["'y'", "one input", "1x3x32x32", "--input"]),
        ("Branch", "1x3x32x32", ["1x3x32x32"]),
    ],
)
def test_inputs_that_do_not_fit_are_told_without_torchs_log(call, nets, photos, tmp_path, name, shape, parts):
    words = [] if shape is None else ["--input", shape]
    done = call("compile", f"{nets}:{name}", "--data", photos, *words, "--out", tmp_path / "net")
    assert_refused(done, *parts)
    assert "fake_tensor" not in done.err and "symbolic_shapes" not in done.err and "def forward" not in done.err
    assert done.err.startswith("Error: ")
    assert not (tmp_path / "net").exists()


def _nested(folder, path):
    (folder / "0.png").rename(folder.parent / "0.png")
    path.mkdir()
    (path / "a" / "b").mkdir(parents=True)
    (folder.parent / "0.png").rename(path / "a" / "b" / "0.png")


def _one_class(folder, path):
    path.mkdir()
    folder.rename(path / "cat")


def _small_classes(folder, path):
    """One image a class: too few for a classifier, which is split."""
    for number in range(4):
        (path / str(number)).mkdir(parents=True)
        (folder / f"{number}.png").rename(path / str(number) / "it.png")


def _zip(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)


@pytest.mark.parametrize("arrange", [_nested, _one_class, _small_classes, _zip])
def test_images_without_classes_calibrate(nets, photos, tmp_path, arrange):
    arrange(photos, tmp_path / "arranged.zip")
    assert _input(quantized_module(f"{nets}:net", str(tmp_path / "arranged.zip"), "1x3x16x16")) == (16, 16, 3)


def test_the_ranges_are_those_of_the_images(nets, photos):
    """The mean of every image, found by the integers, is near that of the float module; of one image too."""
    for name in ("1.png", "2.png", "3.png"):
        (photos / name).unlink()
    from netwright.compression.quantization.post_training import to_integers
    from netwright.workflow.calibration import _of_name

    model = quantized_module(f"{nets}:Mean", str(photos), "1x3x32x32")
    module, batches = _of_name(f"{nets}:Mean", str(photos), "1x3x32x32")
    assert [len(batch) for batch in batches] == [1]
    output = model.graph.outputs[0]
    scale = model.quantization[output]
    assert scale is not None
    found = interpret(model, [to_integers(model, batches[0])])[0].astype(float)
    real = (found - int(scale.zero_point[0])) * float(scale.scale[0])
    largest = float(batches[0].abs().max())
    assert np.abs(real - module(batches[0]).numpy()).max() < largest / 100


def test_only_training_images_are_taken_where_they_are_told_apart(photos, tmp_path):
    from netwright.workflow.calibration import _images

    for part, level in (("train", 40), ("val", 200)):
        for kind in ("cat", "dog"):
            _write(tmp_path / "set" / part / kind / "it.png", np.full((8, 8, 3), level, np.uint8))
    assert _images(str(tmp_path / "set"), 8, grey=False)[0].unique().tolist() == [40]


def test_no_more_images_are_decoded_than_used(tmp_path):
    from netwright.workflow.calibration import IMAGES, _images

    for number in range(IMAGES + 9):
        _write(tmp_path / "many" / f"{number}.png", np.full((1, 1, 3), number % 256, np.uint8))
    first, second = (_images(str(tmp_path / "many"), 1, grey=False)[0] for _ in range(2))
    assert len(first) == IMAGES and torch.equal(first, second)


def test_broken_images_are_left_out_and_told(call, nets, photos, capfd):
    (photos / "broken.png").write_bytes(b"\x89PNG and no more")
    quantized_module(f"{nets}:net", str(photos), "1x3x16x16")
    told = capfd.readouterr().err
    assert "broken.png" in told and "1 of 5" in told


def test_places_without_images_are_refused(nets, tmp_path):
    (tmp_path / "none" / ".hidden").mkdir(parents=True)
    (tmp_path / "none" / "notes.txt").write_text("no image")
    _write(tmp_path / "none" / ".hidden" / "it.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    for name, says in {
        "none": "holds no images.*\\.png.*digits",
        "bad.zip": "zip",
        "nowhere": "does not exist",
    }.items():
        with pytest.raises(NetwrightError, match=says):
            quantized_module(f"{nets}:net", str(tmp_path / name), "1x3x16x16")


def test_what_says_its_input_takes_none(call, tmp_path):
    for name in ("model.tflite", "model.json"):
        assert_refused(call("compile", name, "--input", "1x3x8x8", "--out", tmp_path / "net"), "leave --input out")


def test_the_numbers_of_a_layer_list_lead_to_its_structure(call, tmp_path):
    assert_refused(call("compile", "nets/model.npz", "--out", tmp_path / "net"), "nets/model.json")
