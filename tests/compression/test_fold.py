"""Every operation on its own: its integers against the float graph with fake quantization, in steps of int8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from netwright.compression.quantization.post_training import quantize
from netwright.core.errors import NetwrightError
from tests.compression.folding import both, kinds, settled


class Apply(nn.Module):
    """A function behind a convolution, so that its input is no placeholder."""

    def __init__(self, function: Callable[[Tensor], Any], channels: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)
        self.function = function

    def forward(self, x_BCHW: Tensor) -> Any:
        return self.function(self.conv(x_BCHW))


def images(count: int = 4, side: int = 12) -> Tensor:
    return torch.randn(count, 3, side, side - 2, generator=torch.Generator().manual_seed(1))


def shuffle(x: Tensor) -> Tensor:
    return x.view(len(x), 2, 4, 12, 10).transpose(1, 2).contiguous().view(len(x), 8, 12, 10)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "relu": (functional.relu, []),
    "relu6": (functional.relu6, []),
    "hardtanh": (lambda x: functional.hardtanh(x, -0.5, 0.25), []),
    "clamp": (lambda x: x.clamp(0, 1), []),
    "hardsigmoid": (functional.hardsigmoid, []),
    "hardswish": (functional.hardswish, ["HARD_SWISH"]),
    "sigmoid": (torch.sigmoid, ["LOGISTIC"]),
    "tanh": (torch.tanh, ["TANH"]),
    "gelu": (functional.gelu, ["GELU"]),
    "gelu with tanh": (lambda x: functional.gelu(x, approximate="tanh"), ["GELU"]),
    "abs": (torch.abs, ["ABS"]),
    "pixel shuffle": (
        lambda x: functional.pixel_shuffle(x, 2),
        ["RESHAPE", "TRANSPOSE", "RESHAPE", "DEPTH_TO_SPACE"],
    ),
    "silu": (functional.silu, ["LOGISTIC", "MUL"]),
    "leaky": (functional.leaky_relu, ["LEAKY_RELU"]),
    "softmax over channels": (lambda x: x.softmax(1), ["SOFTMAX"]),
    "add": (lambda x: x + functional.relu(x), ["RELU", "ADD"]),
    "add, relu": (lambda x: functional.relu(x + functional.hardswish(x)), ["HARD_SWISH", "ADD"]),
    "sub": (lambda x: x - functional.hardswish(x), ["HARD_SWISH", "SUB"]),
    "mul": (lambda x: x * functional.hardswish(x), ["HARD_SWISH", "MUL"]),
    "scalars": (lambda x: functional.hardswish(x) * 0.3 + 1.5, ["HARD_SWISH", "MUL", "ADD"]),
    "absorbed scalars": (lambda x: (x * 0.3 + 1.5) / 2 - 0.1, []),
    "max pool": (lambda x: functional.max_pool2d(x, 3, 2, 1), ["PADV2", "MAX_POOL_2D"]),
    "max pool, even": (lambda x: functional.max_pool2d(x, 2), ["MAX_POOL_2D"]),
    "max pool, SAME": (lambda x: functional.max_pool2d(x, 3, 1, 1), ["MAX_POOL_2D"]),
    "max pool, ceil": (
        lambda x: functional.max_pool2d(x[:, :, :11, :9], 2, ceil_mode=True),
        ["STRIDED_SLICE", "STRIDED_SLICE", "MAX_POOL_2D"],
    ),
    "average pool": (lambda x: functional.avg_pool2d(x, 3, 2, 1), ["PAD", "AVERAGE_POOL_2D"]),
    "average pool, SAME counted": (lambda x: functional.avg_pool2d(x, 3, 1, 1), ["PAD", "AVERAGE_POOL_2D"]),
    "average pool, SAME": (lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), ["AVERAGE_POOL_2D"]),
    "adaptive": (lambda x: functional.adaptive_avg_pool2d(x, (4, 5)), ["AVERAGE_POOL_2D"]),
    "global": (lambda x: functional.adaptive_avg_pool2d(x, 1), ["MEAN"]),
    "mean": (lambda x: x.mean((2, 3)), ["MEAN"]),
    "mean over channels": (lambda x: x.mean(1, keepdim=True), ["MEAN"]),
    "mean over channels, dropped": (lambda x: x.mean(1), ["TRANSPOSE", "MEAN"]),
    "squeeze and excite": (
        lambda x: x * functional.hardsigmoid(functional.hardswish(x).mean((2, 3), keepdim=True)),
        None,
    ),
    "cat": (
        lambda x: torch.cat([functional.hardswish(x), functional.relu(x)], 1),
        ["HARD_SWISH", "RELU", "CONCATENATION"],
    ),
    "cat with a fixed range": (
        lambda x: torch.cat([x, torch.sigmoid(x)], 2),
        ["LOGISTIC", "QUANTIZE", "CONCATENATION"],
    ),
    "split": (lambda x: x.split([2, 6], 1)[1], ["STRIDED_SLICE"]),
    "chunks": (lambda x: torch.mul(*x.chunk(2, 1)), ["STRIDED_SLICE", "STRIDED_SLICE", "MUL"]),
    "slice": (lambda x: x[:, 1:7:2, ::3, -4:], ["STRIDED_SLICE"] * 3),
    "select": (lambda x: x[:, :, 2], ["STRIDED_SLICE", "TRANSPOSE", "RESHAPE"]),
    "shuffle": (shuffle, ["RESHAPE", "TRANSPOSE", "RESHAPE"]),
    "to tokens": (lambda x: x.flatten(2).transpose(1, 2), None),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), []),
    "attention": (
        lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(-1) @ x.flatten(2).transpose(1, 2),
        None,
    ),
    "pad": (lambda x: functional.pad(x, (1, 2, 0, 1)), ["PAD"]),
    "pad with a value": (lambda x: functional.pad(x, (1, 2, 0, 1), value=1.0), ["PADV2"]),
    "nearest": (lambda x: functional.interpolate(x, scale_factor=2), ["RESIZE_NEAREST_NEIGHBOR"]),
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), ["RESIZE_BILINEAR"]),
    "bilinear, corners": (
        lambda x: functional.interpolate(x, (5, 7), mode="bilinear", align_corners=True),
        ["RESIZE_BILINEAR"],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_keeps_its_values(name: str) -> None:
    torch.manual_seed(0)
    function, expected = FUNCTIONS[name]
    model, got, wanted = both(Apply(function), images())
    assert got.shape == wanted.shape
    # Every rounding may go the other way, in the convolution before it too; more than that is an error.
    assert np.abs(got - wanted).max() <= (2 if expected is not None and len(expected) < 2 and name != "tanh" else 4)
    assert np.abs(got - wanted).mean() < 0.4
    assert np.ptp(wanted) > 40
    if expected is not None:
        assert [kind for kind in kinds(model) if kind != "CONV_2D"] == expected


LAYERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "SAME": (lambda: nn.Conv2d(3, 8, 3, padding=1), "CONV_2D"),
    "stride 2": (lambda: nn.Conv2d(3, 8, 3, 2, padding=1), "PAD CONV_2D"),
    "VALID": (lambda: nn.Conv2d(3, 8, (3, 5), (2, 1)), "CONV_2D"),
    "same by name": (lambda: nn.Conv2d(3, 8, (3, 5), padding="same"), "CONV_2D"),
    "dilated": (lambda: nn.Conv2d(3, 8, 3, padding=2, dilation=2), "CONV_2D"),
    "depthwise": (lambda: nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False), "DEPTHWISE_CONV_2D"),
    "multiplier": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), "DEPTHWISE_CONV_2D"),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, padding=1, groups=4)), "CONV_2D CONV_2D"),
    "normalized": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6()), "CONV_2D"),
    "normalized alone": (
        lambda: nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU()),
        "MAX_POOL_2D DEPTHWISE_CONV_2D",
    ),
    "classifier": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(640, 5)),
        "CONV_2D RESHAPE FULLY_CONNECTED",
    ),
    "linear, normalized": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(360, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4)),
        "RESHAPE FULLY_CONNECTED FULLY_CONNECTED",
    ),
    "transposed": (lambda: nn.ConvTranspose2d(3, 8, 4, 2, 1), "TRANSPOSE_CONV"),
    "transposed, VALID": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 2, 2), nn.BatchNorm2d(8), nn.ReLU()),
        "TRANSPOSE_CONV",
    ),
    "transposed, cut": (lambda: nn.ConvTranspose2d(3, 8, 3, 2, 1), "TRANSPOSE_CONV STRIDED_SLICE"),
    "prelu": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.PReLU(8)), "CONV_2D PRELU"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("side", [12, 9])
def test_a_layer_keeps_its_values(name: str, side: int) -> None:
    torch.manual_seed(0)
    if side == 9 and ("classifier" in name or "linear" in name):
        pytest.skip("its sizes are those of 12 pixels")
    build, expected = LAYERS[name]
    x = images(side=side)
    model, got, wanted = both(settled(build(), x), x)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= (1 if " " not in expected else 2)
    if side == 12:
        assert " ".join(kinds(model)) == expected


def test_dead_channels_keep_their_bias() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        layer.weight[1] = 0
        layer.weight[2] *= 1e-12
        layer.bias.copy_(torch.tensor([0.1, 5.0, -3.0, 0.0]))  # pyright: ignore[reportOptionalMemberAccess]
    _, got, wanted = both(layer, images())
    assert np.abs(got - wanted).max() <= 1


@pytest.mark.parametrize(
    "function", [torch.sin, lambda x: torch.cumsum(x, 1), lambda x: functional.layer_norm(x, (10,))]
)
def test_what_has_no_integer_form_is_named(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(NetwrightError, match=r"the operation (sin|cumsum|layer_norm) has no integer form here"):
        quantize(Apply(function), [images()])


def test_an_image_less_calibration_is_refused() -> None:
    with pytest.raises(NetwrightError, match="got no images"):
        quantize(nn.Conv2d(3, 4, 1), [])
    with pytest.raises(NetwrightError, match="labels are to be left out"):
        quantize(nn.Conv2d(3, 4, 1), [(images(), torch.zeros(4, dtype=torch.long))])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_an_even_kernel_under_same_padding() -> None:
    model, got, wanted = both(nn.Conv2d(3, 8, (4, 2), padding="same"), images())
    assert np.abs(got - wanted).max() <= 1
    assert kinds(model) == ["CONV_2D"]


def test_a_cast_to_whole_numbers_is_not_taken_for_nothing() -> None:
    with pytest.raises(NetwrightError, match="has no integer form here"):
        quantize(Apply(lambda x: torch.floor(x).to(torch.int32).float()), [images()])
    with pytest.raises(NetwrightError):
        quantize(Apply(lambda x: x.to(torch.int32).float() + 0.5), [images()])


@pytest.mark.parametrize("tiny", [1.0, 1e-9])
def test_a_bias_is_stored_in_units_of_input_scale_times_weight_scale_and_fits_32_bits(tiny: float) -> None:
    conv = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        conv.weight[1] *= tiny
        assert conv.bias is not None
        conv.bias.copy_(torch.tensor([0.5, -300.0, 0.25, 1.0]))
    model = quantize(conv, [images()])
    (op,) = model.graph.ops
    x, weight, bias = (ref.tensor for ref in op.arguments["inputs"])
    units = [model.quantization[index] for index in (x, weight, bias)]
    assert all(one is not None for one in units)
    scales = [np.asarray(one.scale, np.float64) for one in units if one is not None]
    assert np.allclose(scales[2], scales[0] * scales[1], rtol=1e-6)
    stored = model.values[bias].astype(np.float64)
    assert np.abs(stored).max() <= 1 << 30
    assert np.allclose(stored * scales[2], conv.bias.detach().numpy(), rtol=1e-5, atol=float(scales[2].max()))
