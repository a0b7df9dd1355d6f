"""Whole networks: those of the search spaces and of other packages, several inputs and outputs, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.core.errors import NetwrightError
from netwright.graph.integers.interpret import interpret
from netwright.mcu.lower.lower import lower
from netwright.models.families import family
from tests.compression.folding import both, kinds, settled


def images(count: int = 8, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if "." in name:
        return timm.create_model(name.removeprefix("timm."), num_classes=10)
    made = family(name)
    return made.build(made.space.smallest())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("mobilenet-v3-small", 32),
        ("mcunet", 64),
        ("timm.mobilenetv3_small_050", 64),
        ("timm.tf_efficientnet_lite0", 64),
    ],
)
def test_a_network_answers_as_with_fake_quantization(name: str, side: int) -> None:
    x_BCHW = images(4 if side > 32 else 8, side)
    model, got, wanted = both(settled(build(name), x_BCHW), x_BCHW)
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.9
    assert np.ptp(wanted) > 100
    assert "TRANSPOSE" not in kinds(model)
    assert lower(model).macs > 10_000


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> dict[str, Tensor]:
        sum_BCHW = self.one(x_BCHW) + self.two(y_BCHW)
        return {"sum": sum_BCHW, "mean": sum_BCHW.mean((2, 3))}


def test_several_inputs_and_outputs() -> None:
    torch.manual_seed(0)
    module, x_BCHW, y_BCHW = Two().eval(), images(side=10), images(side=10).flip(0) * 3
    model = quantize(module, [(x_BCHW, y_BCHW)])
    scales = [float(model.quantization[index].scale[0]) for index in model.graph.inputs]  # pyright: ignore[reportOptionalMemberAccess]
    assert scales[1] == pytest.approx(3 * scales[0], rel=1e-3)
    stored = [to_integers(model, tensor, place) for place, tensor in enumerate((x_BCHW, y_BCHW))]
    got = interpret(model, stored)
    with torch.no_grad():
        wanted = list(module(x_BCHW, y_BCHW).values())
    for index, values, real in zip(model.graph.outputs, got, wanted, strict=True):
        quantization = model.quantization[index]
        assert quantization is not None
        expected = real.numpy() if real.ndim == 2 else real.numpy().transpose(0, 2, 3, 1)
        found = (values - quantization.zero_point[0]) * quantization.scale[0]
        assert np.abs(found - expected).max() < 4 * quantization.scale[0]


def test_a_fixed_batch_size_needs_batches_of_that_size() -> None:
    class Fixed(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return x_BCHW.reshape(len(x_BCHW), -1)

    model = quantize(Fixed(), images(8).split(4))
    assert model.graph.tensors[model.graph.outputs[0]].shape == (1, 3 * 32 * 32)
    with pytest.raises(NetwrightError, match=r"fixes its batch size, and the batches are of \[2, 4\] images"):
        quantize(Fixed(), images(6).split(4))


@pytest.mark.parametrize("spoil", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(spoil: float) -> None:
    x_BCHW = images()
    x_BCHW[0, 0, 0, 0] = spoil
    for observer in ("minmax", "percentile", "mse"):
        with pytest.raises(NetwrightError, match="NaN or infinity"):
            quantize(nn.Conv2d(3, 4, 1), [x_BCHW], observer=observer)  # pyright: ignore[reportArgumentType]
    layer = nn.Conv2d(3, 4, 1)
    nn.init.constant_(layer.weight, spoil)
    for observer in ("minmax", "percentile", "mse"):
        with pytest.raises(NetwrightError, match="weight of Conv2d holds NaN or infinity"):
            quantize(layer, [images()], observer=observer)  # pyright: ignore[reportArgumentType]


def test_what_cannot_be_exported_is_refused() -> None:
    class Looks(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Any:
            return x_BCHW if float(x_BCHW.sum()) > 0 else -x_BCHW

    with pytest.raises(NetwrightError, match="Looks cannot be exported"):
        quantize(Looks(), [images()])


def test_the_module_stays_as_it_was() -> None:
    net = settled(build("mobilenet-v3-small"), images()).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    quantize(net, [images()], equalize=True, bias_correction=True)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_same_module_gives_the_same_integers() -> None:
    net = settled(build("tiny"), images())
    one, other = (quantize(net, [images()], observer="mse") for _ in range(2))
    assert one.names == other.names
    assert all(np.array_equal(values, other.values[index]) for index, values in one.values.items())
