"""The integers are compared with the network in float: what agrees is told, and what does not, and where it falls."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.compression.quantization.compare import compare, sqnr_db
from netwright.compression.quantization.fake_quantization import FakeQuantized
from netwright.compression.quantization.post_training import quantize
from netwright.graph.integers.comparison import Comparison, Distance
from tests.compression.test_fold import images


class Net(nn.Module):
    """An image and classes, through a flattened image, tokens and a part that few images use."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(480, 6)

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        map_BCHW = torch.relu(self.first(x_BCHW))
        again_BCHW = self.second(map_BCHW)
        return {"map": map_BCHW, "classes": self.head(again_BCHW.flatten(1)), "tokens": again_BCHW.flatten(2).mT}


def test_every_output_and_layer_is_near_the_float_network() -> None:
    torch.manual_seed(0)
    model = quantize(Net(), images(40).split(7), layers=True)
    found = model.comparison
    assert found is not None
    assert found.images == 32
    assert len(found.outputs) == 3
    assert all(30 < one.sqnr_db < 60 for one in found.outputs)
    assert found.agreement is not None
    assert found.agreement > 0.8
    assert len(found.layers) >= 6
    assert all(25 < one.sqnr_db < 60 for one in found.layers)
    assert found.doubt() is None
    assert found.to_json()["outputs"][0]["sqnr_db"] == round(found.outputs[0].sqnr_db, 2)


def test_what_differs_is_told_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    """One wild weight a channel leaves no steps to the others: the layer is named, and so is the remedy."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    with torch.no_grad():
        module[2].weight[0] *= 3000  # pyright: ignore[reportIndexIssue, reportOperatorIssue]
        module[3].weight[:, 0] = 0  # pyright: ignore[reportIndexIssue]
    model = quantize(module, [images()], layers=True)
    found = model.comparison
    assert found is not None
    assert not found.accepts(20.0)
    said = capsys.readouterr().err
    assert "far from the float network" in said
    assert "It falls most at 3 (conv2d_2)" in said


def test_a_wrong_network_is_far_away() -> None:
    torch.manual_seed(0)
    one, other = nn.Conv2d(3, 4, 3).eval(), nn.Conv2d(3, 4, 3).eval()
    model = quantize(one, [images()])
    assert compare(one, model, [(images(),)]).accepts()
    found = compare(other, model, [(images(),)])
    assert not found.accepts()
    assert found.accepts(-30)
    assert "20 dB and more are usual" in str(found.doubt())


def test_what_drops_the_batch_is_compared_image_by_image() -> None:
    class Squeezed(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return x_BCHW.mean((2, 3), keepdim=True).squeeze()

    class Swapped(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return x_BCHW.permute(1, 0, 2, 3)

    for module in (Squeezed(), Swapped()):
        found = quantize(module, [images(8)]).comparison
        assert found is not None
        assert found.outputs[0].sqnr_db > 25


def test_a_network_trained_with_fake_quantization_is_compared_with_itself_in_float() -> None:
    torch.manual_seed(0)
    found = FakeQuantized(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), [images(8)]).finish().comparison
    assert found is not None
    assert found.images == 8
    assert found.outputs[0].sqnr_db > 25


def test_ratios_in_closed_form() -> None:
    real = np.array([3.0, 4.0])
    assert sqnr_db(real, real) == math.inf
    assert sqnr_db(real, real + [0.3, 0.4]) == pytest.approx(20)
    assert sqnr_db(0 * real, real) == -math.inf
    near = Comparison(2, (Distance("a", 25.0), Distance("b", math.inf)), 0.5)
    assert near.worst.name == "a"
    assert (
        near.describe()
        == "the float network on 2 images: SQNR a 25.0 dB, b infinite (equal); same class first on 50.0%"
    )
    assert near.to_json()["outputs"][1]["sqnr_db"] is None
    assert near.doubt() is None
    assert near.doubt(30) is not None
    layers = tuple(Distance(name, ratio) for name, ratio in (("x", math.inf), ("y", 40), ("z", 22), ("w", 21)))
    assert dataclasses.replace(near, layers=layers).steepest == layers[2]
