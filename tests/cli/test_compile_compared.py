"""`netwright compile` beside the network in float: what it prints and writes, and when it ends with 1."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from netwright.graph.files.tflite_writer import write_tflite
from tests.cli.test_verbs import result
from tests.mcu.graphs import mobile

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
NETS = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

def wild():
    made = net()
    with torch.no_grad():
        made[0].weight[0] *= 30000
        made[4].weight[:, 0] = 0
        made[4].bias.zero_()
    return made

def sorted_channels():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(1)[0]
    return nn.Sequential(net()[0], Sorted())
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def words(nets, name):
    return ("compile", f"{nets}/nets.py:{name}", "--input", "1x3x16x16", "--data", nets / "photos", "--out", nets / "c",
        "--scale", "255")  # fmt: skip


def test_the_distance_from_the_float_network_is_printed_and_written(call, nets):
    told = result(call, *words(nets, "net"), "--layers")
    assert told["float"]["images"] == 6
    assert told["float"]["outputs"][0]["sqnr_db"] > 20
    assert 0 <= told["float"]["agreement"] <= 1
    assert len(told["float"]["layers"]) >= 4
    assert json.loads((nets / "c" / "net.json").read_text())["float"] == told["float"]
    done = call(*words(nets, "net"), "--layers")
    assert "the float network on 6 images: SQNR" in done.out
    assert "Layer by layer" in done.out


def test_a_far_network_ends_with_1_unless_it_is_accepted(call, nets):
    done = call(*words(nets, "wild"))
    assert done.code == 1
    assert "Warning: The integers are far from the float network" in done.out
    assert "--accept-sqnr" in done.err
    assert (nets / "c" / "net.c").is_file()
    assert call(*words(nets, "wild"), "--accept-sqnr", "-1000").code == 0
    assert call(*words(nets, "net"), "--accept-sqnr", "200").code == 1


def test_a_model_of_integers_has_nothing_to_compare_with(call, nets):
    write_tflite(mobile(), nets / "mobile.tflite")
    done = call("compile", nets / "mobile.tflite", "--out", nets / "c")
    assert done.code == 0, done.err
    assert "nothing compared: the model came as integers" in done.out
    assert json.loads((nets / "c" / "net.json").read_text())["float"] is None


def test_an_operation_with_several_results_is_refused_by_name(call, nets):
    done = call(*words(nets, "sorted_channels"))
    assert done.code == 1
    assert "the operation sort has no integer form here" in " ".join(done.err.split())


def test_a_network_of_a_run_is_judged_on_images_held_out(call, trained, tmp_path):
    told = result(
        call, "compile", f"{trained}:smallest", "--calibration", "40", "--observer", "mse", "--out", tmp_path / "c"
    )
    found = told["top1"]
    assert found["images"] > 100
    assert found["c"] == found["interpreter"]
    assert abs(found["c"] - found["float"]) < 0.1
    assert json.loads((tmp_path / "c" / "net.json").read_text())["top1"] == found
    with_training = call("compile", f"{trained}:smallest", "--qat", "0.3", "--out", tmp_path / "c")
    assert with_training.code == 0, with_training.err
    assert f"{found['images']} images held out" in with_training.out
    trained_further = json.loads((tmp_path / "c" / "net.json").read_text())["top1"]
    assert trained_further["interpreter"] != found["interpreter"]
    if shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"):
        emulated = call("emulate", tmp_path / "c")
        assert emulated.code == 0, emulated.err
        assert f"top-1  {trained_further['c']:.1%} in C" in emulated.out


@pytest.mark.parametrize(
    ("words_more", "says"),
    [
        (("--observer", "max"), "Observer 'max'"),
        (("--calibration", "0"), "at least one image"),
        (("--qat", "1"), "--qat trains on the images of a run"),
    ],
)
def test_what_a_module_by_name_cannot_do_is_refused(call, nets, words_more, says):
    done = call(*words(nets, "net"), *words_more)
    assert done.code == 1
    assert says in " ".join(done.err.split())


def test_integers_take_no_calibration(call, nets):
    write_tflite(mobile(), nets / "mobile.tflite")
    done = call("compile", nets / "mobile.tflite", "--out", nets / "c", "--observer", "mse", "--qat", "1")
    assert done.code == 1
    assert "is quantized already: leave --observer and --qat out" in " ".join(done.err.split())
