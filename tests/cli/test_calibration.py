"""Modules on the way to a microcontroller: the input they are made for, and images that need no classes."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.preparation import Preparation
from netwright.graph.integers.interpret import interpret
from netwright.workflow.calibration import quantized_module
from tests.cli.test_verbs import assert_refused, result

BYTES = {"scale": 255}
HALVES = {"mean": 0.5, "std": 0.3}
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
    assert _input(quantized_module(f"{nets}:{name}", str(photos), shape, preparation=BYTES)) == taken


def test_the_command_takes_an_input(call, nets, photos, tmp_path):
    told = result(
        call,
        "compile",
        f"{nets}:only_32",
        "--data",
        photos,
        "--input",
        "1x3x32x32",
        "--scale",
        255,
        "--out",
        tmp_path / "net",
    )
    assert told["macs"] == 16 * 16 * 4 * 27 + 4 * 16 * 16 * 2


def test_one_channel_is_the_luma_of_the_images(nets, tmp_path):
    """Two images of one colour each have two greys; normalized with their own statistics these are -1 and 1."""
    _write(tmp_path / "two" / "red.png", np.full((8, 8, 3), (255, 0, 0), np.uint8))
    _write(tmp_path / "two" / "green.png", np.full((8, 8, 3), (0, 255, 0), np.uint8))
    from netwright.data.preparation import in_channels
    from netwright.workflow.calibration import _images, _of_name

    pixels = in_channels(_images(str(tmp_path / "two"), Preparation(8, 8, channels="grey")), "grey")
    greys = [np.asarray(Image.new("RGB", (1, 1), colour).convert("L")).item() for colour in ("#ff0000", "#00ff00")]
    assert pixels[:, 0].unique().tolist() == sorted(greys)
    mean, std = np.mean(greys) / 255, np.std(greys) / 255
    _, batches, _ = _of_name(f"{nets}:grey", str(tmp_path / "two"), "1x1x8x8", None, {"mean": mean, "std": std})
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
    done = call("compile", f"{nets}:{name}", "--data", photos, *words, "--scale", 255, "--out", tmp_path / "net")
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
    made = quantized_module(f"{nets}:net", str(tmp_path / "arranged.zip"), "1x3x16x16", preparation=BYTES)
    assert _input(made) == (16, 16, 3)


def test_the_ranges_are_those_of_the_images(nets, photos):
    """The mean of every image, found by the integers, is near that of the float module; of one image too."""
    for name in ("1.png", "2.png", "3.png"):
        (photos / name).unlink()
    from netwright.compression.quantization.post_training import to_integers
    from netwright.workflow.calibration import _of_name

    model = quantized_module(f"{nets}:Mean", str(photos), "1x3x32x32", preparation=HALVES)
    module, batches, _ = _of_name(f"{nets}:Mean", str(photos), "1x3x32x32", None, HALVES)
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
    assert _images(str(tmp_path / "set"), Preparation(8, 8)).unique().tolist() == [40]


def test_no_more_images_are_decoded_than_used(tmp_path):
    from netwright.workflow.calibration import IMAGES, _images

    for number in range(IMAGES + 9):
        _write(tmp_path / "many" / f"{number}.png", np.full((1, 1, 3), number % 256, np.uint8))
    first, second = (_images(str(tmp_path / "many"), Preparation(1, 1)) for _ in range(2))
    assert len(first) == IMAGES and torch.equal(first, second)


def test_broken_images_are_left_out_and_told(call, nets, photos, capfd):
    (photos / "broken.png").write_bytes(b"\x89PNG and no more")
    quantized_module(f"{nets}:net", str(photos), "1x3x16x16", preparation=BYTES)
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
            quantized_module(f"{nets}:net", str(tmp_path / name), "1x3x16x16", preparation=BYTES)


def test_what_says_its_input_takes_none(call, tmp_path):
    for name in ("model.tflite", "model.json"):
        assert_refused(call("compile", name, "--input", "1x3x8x8", "--out", tmp_path / "net"), "leave --input out")


def test_the_numbers_of_a_layer_list_lead_to_its_structure(call, tmp_path):
    assert_refused(call("compile", "nets/model.npz", "--out", tmp_path / "net"), "nets/model.json")


BRIGHT = """
import torch
from torch import nn

class Bright(nn.Module):
    \"\"\"Whether an image of bytes is brighter than 128, and by how much: it was trained on values from 0 to 255.\"\"\"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[[[-1/3]]] * 3, [[[1/3]]] * 3]))
            self.conv.bias.copy_(torch.tensor([128.0, -128.0]))

    def forward(self, x):
        return self.conv(x).mean((2, 3))

def stated():
    net = Bright()
    net.pretrained_cfg = {"mean": (0.5, 0.25, 0.125), "std": (0.5, 0.5, 0.25), "crop_pct": 0.5, "interpolation": "bilinear"}
    return net
"""


@pytest.fixture
def levels(tmp_path):
    (tmp_path / "bright.py").write_text(BRIGHT)
    for level in range(8, 248, 16):
        _write(tmp_path / "levels" / f"{level}.png", np.full((8, 8, 3), level, np.uint8))
    return tmp_path / "levels"


def _range(model):
    scale = model.quantization[model.graph.inputs[0]]
    return [float((stored - scale.zero_point[0]) * scale.scale[0]) for stored in (-128, 127)]


def test_a_module_that_does_not_say_its_preparation_is_asked_for(call, levels, tmp_path):
    words = "compile", f"{tmp_path / 'bright.py'}:Bright", "--data", levels, "--input", "1x3x8x8", "--out"
    done = call(*words, tmp_path / "net")
    assert_refused(done, "--scale", "--mean", "--std", "--channels", "bright.py:Bright")
    assert not (tmp_path / "net").exists()
    result(call, *words, tmp_path / "net", "--scale", 1)


@pytest.mark.parametrize(("scale", "ends"), [(1, (0, 232)), (255, (0, 232 / 255))])
def test_the_ranges_are_those_of_the_stated_scale(levels, tmp_path, scale, ends):
    made = quantized_module(f"{tmp_path / 'bright.py'}:Bright", str(levels), "1x3x8x8", preparation={"scale": scale})
    assert _range(made) == pytest.approx(ends, rel=0.02)
    assert made.images is not None and made.images["preparation"]["scale"] == scale


def test_a_network_for_bytes_answers_as_in_float(levels, tmp_path):
    """Divided by the images' own mean and deviation, as it once was, all of them were called dark."""
    name = f"{tmp_path / 'bright.py'}:Bright"
    made = quantized_module(name, str(levels), "1x3x8x8", preparation={"scale": 1})
    from netwright.compression.quantization.post_training import to_integers
    from netwright.workflow.calibration import _of_name

    module, batches, _ = _of_name(name, str(levels), "1x3x8x8", None, {"scale": 1})
    found = interpret(made, [to_integers(made, batches[0])])[0].argmax(1)
    assert found.tolist() == module(batches[0]).argmax(1).tolist()
    assert 0 < found.sum() < len(found)


def test_timms_card_says_the_preparation_and_options_go_before_it(levels, tmp_path):
    from netwright.workflow.calibration import _of_name

    name = f"{tmp_path / 'bright.py'}:stated"
    how = _of_name(name, str(levels), "1x3x8x8")[2]
    assert how == Preparation(8, 8, (0.5, 0.25, 0.125), (0.5, 0.5, 0.25), crop=0.5, resize="bilinear")
    assert _of_name(name, str(levels), "1x3x8x8", None, {"mean": 0})[2].mean == (0, 0, 0)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--mean", "half"], ["--mean 'half'", "0.485"]),
        (["--mean", "1,2"], ["mean", "3 channels"]),
        (["--std", "0"], ["std", "above 0"]),
        (["--scale", "-1"], ["scale"]),
        (["--channels", "BRG"], ["BRG", "BGR"]),
        (["--channels", "grey"], ["3 channels", "grey"]),
    ],
)
def test_a_wrong_preparation_is_refused(call, levels, tmp_path, words, parts):
    head = "compile", f"{tmp_path / 'bright.py'}:Bright", "--data", levels, "--input", "1x3x8x8"
    assert_refused(call(*head, *words, "--out", tmp_path / "net"), *parts)


def test_a_runs_network_takes_no_other_preparation(call, trained, tmp_path):
    assert_refused(call("compile", f"{trained}:smallest", "--scale", 1, "--out", tmp_path / "net"), "leave --mean")


def test_the_folder_prepares_photographs_where_it_is_known_how(call, trained, levels, tmp_path):
    name = f"{tmp_path / 'bright.py'}:Bright"
    told = result(call, "compile", f"{trained}:smallest", "--out", tmp_path / "of-run")
    result(call, "compile", name, "--data", levels, "--input", "1x3x8x8", "--scale", 1, "--out", tmp_path / "of-file")
    header = (tmp_path / "of-run" / "net_preprocess.h").read_text()
    assert "#define NET_CLASSES 10\n" in header
    assert "#define NET_IMAGE_SCALE 1.0f" in (tmp_path / "of-file" / "net_preprocess.h").read_text()
    from netwright.core.files import read_json

    for folder in ("of-run", "of-file"):
        files = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"net_preprocess.h", "net_preprocess.c", "nw_preprocess.h"} <= files
        assert sorted(files) == sorted(read_json(tmp_path / folder / "net.json")["files"])
        assert "net_preprocess(" in (tmp_path / folder / "README.md").read_text()
    assert told["proven"]
