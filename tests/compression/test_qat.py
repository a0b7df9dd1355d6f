"""Quantization-aware training on scikit-learn's digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netwright.compression.quantization.fake_quantization import FakeQuantized
from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.compression.quantization.qat import quantization_aware, quantize_aware
from netwright.core.errors import NetwrightError
from netwright.data import Dataset, calibration_batches, eval_batches, load_dataset
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.training.loop import train_network
from netwright.training.recipe import static_training
from tests.compression.folding import in_steps

SIZE = 8


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", size=SIZE)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.Hardswish(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> nn.Module:
    net = small()
    recipe = static_training(epochs=3, batch_size=64, learning_rate=0.1, evaluate_every=0)
    train_network(net, digits, recipe, resolution=SIZE)
    return net


def top1(model: QuantizedGraph, digits: Dataset) -> float:
    right = 0
    for x_BCHW, y_B in eval_batches(digits.val, mean=digits.mean, std=digits.std, resolution=SIZE):
        logits_BK = interpret(model, [to_integers(model, x_BCHW)])[0]
        right += int((logits_BK.argmax(1) == y_B.numpy()).sum())
    return 100 * right / len(digits.val)


def test_trained_integers_are_as_right_as_calibrated_ones(digits: Dataset, trained: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    recipe = quantization_aware(epochs=2, batch_size=64, learning_rate=0.05, calibration_images=256)
    model = quantize_aware(trained, digits, recipe, resolution=SIZE)
    calibrated = quantize(trained, [_images(digits, 256)])
    assert top1(model, digits) > 85
    assert top1(model, digits) >= top1(calibrated, digits) - 1
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())


def test_what_is_trained_is_what_is_folded(digits: Dataset, trained: nn.Module) -> None:
    x_BCHW = _images(digits, 64)
    student = FakeQuantized(trained, [x_BCHW])
    logits_BK = student(x_BCHW)
    logits_BK.square().mean().backward()
    trained_part = [name for name, parameter in student.named_parameters() if parameter.grad is not None]
    assert len(trained_part) == len(list(student.parameters())) == 6
    model = student.finish()
    got = interpret(model, [to_integers(model, x_BCHW)])[0].astype(int)
    wanted = in_steps(model, logits_BK.detach().numpy())
    assert np.abs(got - wanted).max() <= 4
    assert np.abs(got - wanted).mean() < 0.5


def test_ranges_of_activations_stay_as_they_were_calibrated(digits: Dataset, trained: nn.Module) -> None:
    x_BCHW = _images(digits, 64)
    student = FakeQuantized(trained, [x_BCHW])
    for factor in (20, -20):
        student(factor * x_BCHW)
    after, before = student.finish(), FakeQuantized(trained, [x_BCHW]).finish()
    scales = [[part.scale.tolist() for part in model.quantization if part is not None] for model in (before, after)]
    assert scales[0] == scales[1]


def test_a_fixed_batch_size_is_refused(digits: Dataset) -> None:
    class Fixed(nn.Module):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return x_BCHW.reshape(len(x_BCHW), -1)

    with pytest.raises(NetwrightError, match="fixes its batch size"):
        FakeQuantized(Fixed(), [_images(digits, 8)])


def _images(digits: Dataset, count: int) -> torch.Tensor:
    return torch.cat(calibration_batches(digits, resolution=SIZE, images=count))
