"""Damaged layer lists: any value replaced, any bit of the arrays flipped, and only errors that explain escape."""

import copy
import json

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.files.layer_list import read_layer_list

HOSTILE = (
    0, 1, -1, 3, 1 << 15, 1 << 31, 1 << 40, -(1 << 62), 1 << 80, 0.5, 1e-300, 1e300, float("inf"), float("nan"),
    None, "", "x", [], {}, [1], [0, 0], True, [1 << 40] * 4, [1, 1, 1, 1],
)  # fmt: skip


def conv(name, given, made, kernel, groups):
    return {
        "op": "conv2d", "name": name, "in_channels": given, "out_channels": made, "kernel": [kernel] * 2, "stride": 1,
        "pad": [kernel // 2] * 2, "groups": groups, "x_scale": 0.05, "x_zero": 3, "y_scale": 0.05, "y_zero": 3,
        "weight_shape": [made, given // groups, kernel, kernel],
    }  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    convs = [conv("a", 3, 4, 3, 1), conv("b", 4, 4, 3, 4), conv("c", 4, 4, 1, 1)]
    residual = {f"{side}_{what}": value for side in ("x1", "x2", "y") for what, value in (("scale", 0.05), ("zero", 3))}
    block = {"op": "block", "index": 0, "convs": convs[1:], "residual": residual}
    layers = [convs[0], block, {"op": "avgpool_round"}]
    arrays = {}
    for layer in convs:
        arrays[f"{layer['name']}.weight"] = np.ones(layer["weight_shape"], np.int8)
        arrays[f"{layer['name']}.bias"] = np.zeros(layer["out_channels"], np.int32)
        arrays[f"{layer['name']}.w_scales"] = np.full(layer["out_channels"], 0.01, np.float32)
    path = tmp_path_factory.mktemp("lists") / "net.npz"
    np.savez(path, **arrays)
    return {"format": "q8net/1", "name": "n", "input": {"shape": [1, 3, 6, 6]}, "layers": layers}, path.read_bytes()


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        yield (*path, key)
        yield from places(inside, (*path, key))


def damaged(described, arrays, number):
    """The JSON text and the archive of a number; one in eight is cut short, one in five has a damaged archive."""
    rng = np.random.default_rng(number)
    described, arrays = copy.deepcopy(described), bytearray(arrays)
    if number % 5 == 0:
        for _ in range(int(rng.integers(1, 5))):
            arrays[int(rng.integers(len(arrays)))] ^= 1 << int(rng.integers(8))
        del arrays[int(rng.integers(len(arrays) // 2, 8 * len(arrays))) :]
    else:
        spots = list(places(described))
        *way, last = spots[int(rng.integers(len(spots)))]
        at = described
        for key in way:
            at = at[key]
        at[last] = HOSTILE[int(rng.integers(len(HOSTILE)))]
    text = json.dumps(described)
    return text[: int(rng.integers(len(text)))] if number % 8 == 0 else text, bytes(arrays)


def test_only_errors_that_explain_escape(good, tmp_path):
    outcomes = {"read": 0, "refused": 0}
    for number in range(300):
        text, arrays = damaged(*good, number)
        (tmp_path / "net.json").write_text(text)
        (tmp_path / "net.npz").write_bytes(arrays)
        try:
            read_layer_list(tmp_path / "net.json")
        except NetwrightError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 100 and outcomes["read"] > 10, outcomes


def test_an_archive_that_is_one_array_is_refused(good, tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(good[0]))
    with (tmp_path / "net.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(NetwrightError, match="damaged"):
        read_layer_list(tmp_path / "net.json")
