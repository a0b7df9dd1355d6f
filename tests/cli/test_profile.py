"""`netwright profile` from outside: models by name and from files, wrong words, the page that it writes."""

from __future__ import annotations

import importlib.util
import json
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.cli.test_verbs import assert_refused, result

MODULE = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.linalg.svdvals(self.conv(x).flatten(1))

def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())

def odd():
    return Odd()

def broken():
    raise RuntimeError("no luck today")

def leaves():
    raise SystemExit(5)

def text():
    return "a string"
"""


@pytest.fixture
def module_file(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(MODULE)
    return path


def test_a_function_in_a_file_that_returns_a_module(call, module_file):
    told = result(call, "profile", f"{module_file}:small", "--input", "1x3x10x10")
    assert told["macs"] == 8 * 8 * 8 * 27
    assert told["params"] == 8 * 27 + 8
    assert told["input"] == [[1, 3, 10, 10]]


def test_a_run_and_an_arch_of_it(call, run):
    told = result(call, "profile", f"{run}:smallest")
    assert told["macs"] == result(call, "profile", "tiny:smallest")["macs"]
    assert_refused(call("profile", f"{run}:best"), "was not searched yet")


def test_the_tree_and_the_totals_are_printed(call):
    done = call("profile", "tiny:largest", "--device", "stm32f746", "--train", "bias", "--optimizer", "adam")
    assert done.code == 0, done.err
    for word in (
        "stem",
        "head",
        "100.0%",
        "peak memory",
        "training memory, bias",
        "latency bound",
        "on stm32f746",
        "saving 1",
    ):
        assert word in done.out


@pytest.mark.slow
def test_checkpointing_plans_trade_memory_for_work(call):
    words = ("profile", "tiny", "--input", "8x3x32x32", "--train")
    none, blocks = (result(call, *words, f"full:{plan}")["checkpointing"] for plan in ("none", "blocks"))
    assert none["recomputed_macs"] == 0
    assert blocks["recomputed_macs"] > 0
    assert blocks["peak_bytes"] < none["peak_bytes"]
    assert "recomputes" in call(*words, f"full:{none['peak_bytes']}B").out


def test_the_errors_of_shapes_are_one_message(call):
    assert_refused(call("profile", "tiny", "--input", "1x3x32x32:int64"), "does not run on 1x3x32x32")


def test_what_does_not_fit_a_microcontroller_is_said(call):
    done = call("profile", "torchvision:mobilenet_v3_small", "--device", "stm32f746")
    assert "does not fit stm32f746: weights take" in done.out
    assert "its SRAM has 327,680" in done.out


def test_a_page_does_not_overwrite_its_model(call, module_file, tmp_path):
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    assert_refused(call("profile", empty), "holds no operations")
    assert_refused(call("profile", empty, "--html", empty), "empty.onnx")
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "page.html")
    assert call("profile", "tiny", "--html", link).code == 0
    assert link.is_symlink()
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_two_models_side_by_side(call):
    told = result(call, "profile", "tiny:smallest", "--compare", "tiny:largest")
    one, other = told["models"]
    assert one["macs"] < other["macs"]


def test_what_has_no_price_is_listed_and_strict_refuses_it(call, module_file):
    words = ("profile", f"{module_file}:odd", "--input", "1x3x8x8")
    told = result(call, *words)
    (unpriced,) = told["unpriced"]
    assert "svd" in unpriced["kind"]
    assert "not priced" in call(*words).out
    assert_refused(call(*words, "--strict"), "no price is known for", "svd", "Leave --strict out")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["efficientvit_b11"], ["no model 'efficientvit_b11'", "Did you mean efficientvit_b1"]),
        (["torchvision:resnet19"], ["no model 'resnet19'", "resnet18"]),
        (["tiny:huge"], ["'huge'", "smallest"]),
        (["nothing.py:f"], ["no file nothing.py"]),
        (["tiny", "--input", "3by32"], ["not a shape", "1x3x224x224"]),
        (["tiny", "--input", "1x3x²x28"], ["not a shape"]),
        (["tiny", "--input", "99999999999999999999x3x28x28"], ["not a shape"]),
        (["tiny", "--input", "2000000000x2000000000x3"], ["too large"]),
        (["tiny", "--input", "1000000000x3x32x32", "--measure"], ["does not run here", "smaller batch"]),
        (["tiny", "--optimizer", "nope"], ["The optimizer 'nope' is not known"]),
        (["tiny", "--html", "/dev/null"], ["no regular file"]),
        (["tiny", "--input", "1x3x32x32:float99"], ["no type of numbers"]),
        (["tiny", "--input", "1x5x32x32"], ["does not run on 1x5x32x32", "Check the size"]),
        (["tiny", "--device", "stm32f747"], ["not known", "stm32f746"]),
        (["tiny", "--train", "bais"], ["no mode of training", "Did you mean 'bias'"]),
        (["tiny", "--train", "full", "--optimizer", "sgdd"], ["not known", "sgd"]),
        (["tiny", "--dtype", "float99"], ["float99"]),
        (["tiny", "--train", "full:block"], ["checkpointing plan", "Did you mean 'blocks'"]),
        (["tiny", "--train", "full:1KB"], ["No checkpointing plan fits 1,024 bytes"]),
        (["tiny", "--train", "full:30furlongs"], ["--train MODE:BYTES"]),
        (["hf:nowhere"], ["transformers" if importlib.util.find_spec("transformers") is None else "no config.json"]),
        (["missing.onnx"], ["missing.onnx"]),
        (["missing.tflite"], ["missing.tflite"]),
    ],
)
def test_wrong_words(call, words, parts):
    assert_refused(call("profile", *words), *parts)


def test_a_file_of_ones_own_that_fails(call, module_file):
    assert_refused(call("profile", f"{module_file}:broken", "--input", "1x3x8x8"), "no luck today")
    assert_refused(call("profile", f"{module_file}:text", "--input", "1x3x8x8"), "returned str")
    assert_refused(call("profile", f"{module_file}:leaves", "--input", "1x3x8x8"), "SystemExit")
    assert_refused(call("profile", f"{module_file}:smal", "--input", "1x3x8x8"), "Did you mean 'small'")
    assert_refused(call("profile", f"{module_file}:small"), "does not say its input")
    assert_refused(call("profile", str(module_file)), "Which function")


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self):
        super().__init__()
        self.pictures, self.sources, self.headings = 0, [], []
        self._heading = False

    def handle_starttag(self, tag, attrs):
        self.pictures += tag == "svg"
        self._heading = tag in ("h1", "h2")
        self.sources += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]

    def handle_data(self, data):
        if self._heading:
            self.headings.append(data)
            self._heading = False


def test_the_page_has_its_pictures_and_loads_nothing(call, tmp_path):
    path = tmp_path / "page.html"
    done = call("profile", "tiny", "--device", "a100", "--measure", "--train", "full:blocks", "--html", path)
    assert done.code == 0, done.err
    assert "by the plan" in path.read_text()
    page = Page()
    page.feed(path.read_text())
    assert page.pictures == 4  # memory, bars, roofline, waterline
    assert not page.sources
    assert page.headings[0] == "tiny"


def test_the_page_of_two_models_and_a_place_that_cannot_be_written(call, tmp_path):
    path = tmp_path / "page.html"
    assert call("profile", "tiny:smallest", "--compare", "tiny", "--html", path).code == 0
    assert "Side by side" in path.read_text()
    assert_refused(call("profile", "tiny", "--html", path / "below-a-file.html"), "page.html")


def test_json_says_where_figures_come_from(call):
    told = result(call, "profile", "tiny", "--device", "h200")
    assert json.dumps(told)
    assert told["latency_ms"]["kind"] == "bounded"
    assert told["energy_mj"]["kind"] == "predicted"
    assert told["device"] == "h200"


def onnx_file(path, *, values: bool):
    """A convolution on images of any size; with `values`, a product after it whose rows depend on values."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    if values:
        nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("NonZero", ["a"], ["n"])]
        nodes += [helper.make_node("Cast", ["n"], ["c"], to=1), helper.make_node("MatMul", ["v", "c"], ["y"])]
    shape = [1, 3, 8, 8] if values else ["N", 3, "height", "width"]
    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, None)
    constants = {"w": np.zeros((4, 3, 3, 3), np.float32), "v": np.zeros((2, 4), np.float32)}
    made = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], made)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_the_free_sizes_of_a_file_are_given_by_an_option(call, tmp_path):
    path = onnx_file(tmp_path / "net.onnx", values=False)
    assert_refused(call("profile", path), "leaves dimension 2 of its input 'x' free", "--input 1x3x224x224")
    told = result(call, "profile", path, "--input", "2x3x10x12")
    assert told["macs"] == 2 * 4 * 27 * 8 * 10 and told["input"] == [[2, 3, 10, 12]]
    assert_refused(call("profile", path, "--input", "1x4x10x10"), "1x4x10x10 was given", "3xheightxwidth")
    assert_refused(call("profile", path, "--input", "1x3x10x10,1x3"), "has 1 input", "2 shapes were given")


def test_a_file_with_unknown_shapes_gives_lower_bounds_and_fails(call, tmp_path):
    path = onnx_file(tmp_path / "net.onnx", values=True)
    done = call("profile", path)
    assert done.code == 1 and "shapes of 3 results could not be found" in done.err
    assert f"at least {4 * 27 * 36:,}" in done.out and "proven" not in done.out
    told = json.loads(call("profile", path, "--json").out)
    assert (told["macs"], told["at_least"], told["peak_memory_at_least"]) == (4 * 27 * 36, True, True)
    page = tmp_path / "page.html"
    assert call("profile", path, "--html", page).code == 1 and "at least" in page.read_text()
