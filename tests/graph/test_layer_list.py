"""Plain layer lists as networks, against PyTorch's convolutions with real scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from netwright.core.errors import NetwrightError
from netwright.graph.files.layer_list import read_layer_list
from netwright.graph.integers.interpret import interpret

SIDE = 12


def conv(name: str, given: int, made: int, kernel: int, stride: int, groups: int, scales: tuple, side: int) -> dict:
    x, y = scales
    return {
        **{"op": "conv2d", "name": name, "in_channels": given, "out_channels": made, "kernel": [kernel, kernel]},
        **{"stride": stride, "pad": [kernel // 2] * 2, "groups": groups, "in_hw": side, "out_hw": -(-side // stride)},
        **{"x_scale": x[0], "x_zero": x[1], "y_scale": y[0], "y_zero": y[1]},
        "weight_shape": [made, given // groups, kernel, kernel],
    }


@pytest.fixture
def files(tmp_path: Path) -> Path:
    q0, q1, q2, q3, q4, q5 = (0.02, 3), (0.05, -128), (0.05, -100), (0.06, 5), (0.07, -3), (0.08, 4)
    stem = conv("stem", 3, 8, 3, 2, 1, (q0, q1), SIDE)
    block = [
        conv("expand", 8, 16, 1, 1, 1, (q1, q2), 6),
        conv("depthwise", 16, 16, 5, 1, 16, (q2, q2), 6),
        conv("project", 16, 8, 1, 1, 1, (q2, q3), 6),
    ]
    residual = {"x1_scale": q1[0], "x1_zero": q1[1], "x2_scale": q3[0], "x2_zero": q3[1]}
    residual |= {"y_scale": q4[0], "y_zero": q4[1]}
    layers = [
        stem,
        {"op": "block", "index": 0, "convs": block, "residual": residual},
        {"op": "avgpool_round"},
        conv("head", 8, 5, 1, 1, 1, (q4, q5), 1),
    ]
    rng = np.random.default_rng(0)
    arrays = {}
    for layer in (stem, *block, layers[3]):
        channels, shape = layer["out_channels"], layer["weight_shape"]
        arrays[f"{layer['name']}.weight"] = rng.integers(-127, 128, shape).astype(np.int8)
        arrays[f"{layer['name']}.bias"] = rng.integers(-500, 500, channels).astype(np.int32)
        arrays[f"{layer['name']}.w_scales"] = rng.uniform(0.002, 0.006, channels).astype(np.float32)
    described = {"format": "q8net/1", "name": "tiny", "input": {"shape": [1, 3, SIDE, SIDE]}, "layers": layers}
    (tmp_path / "tiny.json").write_text(json.dumps(described))
    np.savez(tmp_path / "tiny.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return tmp_path / "tiny.json"


def real(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """Every layer's output by the list's own semantics: one exact rounding of reals, NCHW."""
    described, arrays = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
    at = torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)
    made: list[np.ndarray] = []

    def clamped(values: torch.Tensor, zero: int) -> torch.Tensor:
        made.append((torch.round(values) + zero).clamp(-128, 127).permute(0, 2, 3, 1).numpy())
        return torch.from_numpy(made[-1]).permute(0, 3, 1, 2)

    def run(layer: dict[str, Any], at: torch.Tensor) -> torch.Tensor:
        weight, bias, scales = (
            torch.from_numpy(arrays[f"{layer['name']}.{part}"].astype(np.float64))
            for part in ("weight", "bias", "w_scales")
        )
        options = {"stride": layer["stride"], "padding": layer["pad"], "groups": layer["groups"]}
        total = functional.conv2d(at - layer["x_zero"], weight, bias, **options)
        return clamped(total * (scales * layer["x_scale"] / layer["y_scale"])[:, None, None], layer["y_zero"])

    for layer in described["layers"]:
        if layer["op"] == "conv2d":
            at = run(layer, at)
        elif layer["op"] == "avgpool_round":
            at = clamped(at.mean(dim=(2, 3), keepdim=True), 0)
        else:
            before = at
            for part in layer["convs"]:
                at = run(part, at)
            r = layer["residual"]
            total = (before - r["x1_zero"]) * r["x1_scale"] + (at - r["x2_zero"]) * r["x2_scale"]
            at = clamped(total / r["y_scale"], r["y_zero"])
    return made


def test_every_layer_is_within_a_step_of_its_real_arithmetic(files: Path) -> None:
    model = read_layer_list(files)
    x = np.random.default_rng(1).integers(-128, 128, (4, SIDE, SIDE, 3)).astype(np.int8)
    tensors = interpret(model, [x], keep=True)
    made = [op for op in model.graph.ops if op.kind not in ("tflite.PAD", "tflite.RESHAPE")]
    expected = real(files, x)
    assert len(made) == len(expected)
    for op, values in zip(made, expected, strict=True):
        difference = np.abs(tensors[op.outputs[0]].reshape(values.shape) - values)
        assert difference.max() <= 2, op.path  # one step here, carried on by what follows
        assert (difference > 0).mean() < 0.08, op.path
    assert tensors[model.graph.outputs[0]].shape == (4, 5)


def test_padding_that_same_does_not_give_becomes_a_pad(files: Path) -> None:
    kinds = [op.kind.removeprefix("tflite.") for op in read_layer_list(files).graph.ops]
    assert kinds == [
        *("PAD", "CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD"),
        *("AVERAGE_POOL_2D", "CONV_2D", "RESHAPE"),
    ]


def change(files: Path, **fields: Any) -> Path:
    described = json.loads(files.read_text())
    described["layers"][0].update(fields)
    files.write_text(json.dumps(described))
    return files


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": "pool"}, "unknown kind"),
        ({"weight_shape": [8, 3, 3, 4]}, "weight is int8 of shape"),
        ({"y_scale": 0.5}, "other scales"),
        ({"name": "missing"}, "missing.weight"),
        ({"stride": "two"}, "damaged"),
    ],
)
def test_damaged_lists_are_refused(files: Path, fields: dict, message: str) -> None:
    with pytest.raises(NetwrightError, match=message):
        read_layer_list(change(files, **fields))


def test_missing_and_foreign_files_are_refused(files: Path) -> None:
    with pytest.raises(NetwrightError, match="Cannot read"):
        read_layer_list(files.with_name("none.json"))
    files.with_suffix(".npz").write_bytes(b"no archive")
    with pytest.raises(NetwrightError, match="damaged"):
        read_layer_list(files)
    files.with_suffix(".npz").unlink()
    with pytest.raises(NetwrightError, match="npz"):
        read_layer_list(files)
    files.write_text('{"format": "else"}')
    with pytest.raises(NetwrightError, match="q8net/1"):
        read_layer_list(files)
