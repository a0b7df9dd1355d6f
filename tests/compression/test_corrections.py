"""Observers, equalization and bias correction, against what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.compression.quantization.bias_correction import means_of_layers
from netwright.compression.quantization.equalize import equalize
from netwright.compression.quantization.exported import export
from netwright.compression.quantization.nodes import constant, kind
from netwright.compression.quantization.observers import (
    BINS,
    HistogramRange,
    PerChannelMse,
    mse_range,
    percentile_range,
)
from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.core.errors import NetwrightError
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from tests.compression.folding import settled


def observer(choose: Any) -> HistogramRange:
    return HistogramRange(choose, dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_affine)


def rounding_error(x: Tensor, scale: Tensor, zero_point: Tensor) -> float:
    stored = (x / scale + zero_point).round().clamp(-128, 127)
    return float((((stored - zero_point) * scale) - x).square().mean())


def images(count: int = 32) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    return settled(net, images())


def test_a_histogram_counts_every_value_while_its_range_grows() -> None:
    seen = observer(percentile_range)
    for scale in (0.01, 1.0, 30.0):
        seen(torch.randn(1000, generator=torch.Generator().manual_seed(2)) * scale)
    assert float(seen.counts.sum()) == 3000
    assert float(seen.bound) > 30
    assert len(seen.centres) == BINS


def test_percentile_leaves_out_what_is_rare() -> None:
    x = torch.randn(1 << 20, generator=torch.Generator().manual_seed(2))
    x[0], x[1] = 1000.0, -500.0
    seen = observer(percentile_range)
    seen(x)
    low, high = percentile_range(seen)
    assert -6 < low < -3.5
    assert 3.5 < high < 6


@pytest.mark.parametrize("power", [1, 3, 5])
def test_mse_finds_the_best_of_all_ranges(power: int) -> None:
    x = torch.randn(1 << 16, generator=torch.Generator().manual_seed(2)) ** power
    seen = observer(mse_range)
    seen(x)
    found = rounding_error(x, *seen.calculate_qparams())
    every = []
    for share in torch.linspace(0.05, 1, 40).tolist():
        narrow = observer(lambda seen, share=share: (share * float(seen.low), share * float(seen.high)))
        narrow(x)
        every.append(rounding_error(x, *narrow.calculate_qparams()))
    assert found < 1.03 * min(every)


def test_mse_of_weights_is_no_worse_than_their_largest_value() -> None:
    weights = torch.randn(8, 200, generator=torch.Generator().manual_seed(2)) ** 5
    settings = {"dtype": torch.int8, "quant_min": -127, "quant_max": 127, "qscheme": torch.per_channel_symmetric}
    best = PerChannelMse(ch_axis=0, **settings)
    best(weights)
    scale, zero_point = best.calculate_qparams()
    for row, step in zip(weights, scale, strict=True):
        assert rounding_error(row, step, torch.zeros(())) <= rounding_error(row, row.abs().max() / 127, torch.zeros(()))
    assert not zero_point.any()


def test_equalizing_changes_no_output_and_evens_the_weights() -> None:
    net, x_BCHW = network(), images()
    with torch.no_grad():
        net[0].weight[::2] *= 30  # pyright: ignore[reportIndexIssue, reportCallIssue]
    settled(net, x_BCHW)
    graph = export(net, (x_BCHW,))
    with torch.no_grad():
        before = graph(x_BCHW)
        spread = [_spread(graph, node) for node in graph.graph.nodes if kind(node) == "conv2d"]
        assert equalize(graph, [(x_BCHW,)]) == 2
        assert torch.allclose(graph(x_BCHW), before, atol=1e-4)
    after = [_spread(graph, node) for node in graph.graph.nodes if kind(node) == "conv2d"]
    assert after[1] < spread[1]


def _spread(graph: Any, node: Any) -> float:
    weight = constant(graph, node.args[1])
    assert weight is not None
    ranges = weight.abs().flatten(1).amax(1)
    return float(ranges.max() / ranges.min())


def test_bias_correction_restores_the_mean_outputs() -> None:
    net, x_BCHW = network(), images(64)
    plain, corrected = (quantize(net, [x_BCHW], bias_correction=on) for on in (False, True))
    with torch.no_grad():
        wanted = net(x_BCHW).numpy()
    shifts = [np.abs(_real(model, x_BCHW).mean(0) - wanted.mean(0)).max() for model in (plain, corrected)]
    assert shifts[1] < 0.5 * shifts[0]
    assert len(means_of_layers(export(net, (x_BCHW,)), [(x_BCHW,)])) == 4


def _real(model: QuantizedGraph, x_BCHW: Tensor) -> Any:
    quantization = model.quantization[model.graph.outputs[0]]
    assert quantization is not None
    return (interpret(model, [to_integers(model, x_BCHW)])[0] - quantization.zero_point[0]) * quantization.scale[0]


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse"])
def test_every_observer_keeps_a_network(name: Any) -> None:
    net, x_BCHW = network(), images()
    model = quantize(net, x_BCHW.split(8), observer=name, equalize=True, bias_correction=True)
    with torch.no_grad():
        wanted = net(x_BCHW).numpy()
    error = np.sqrt(((_real(model, x_BCHW) - wanted) ** 2).mean() / wanted.var())
    assert error < 0.12


def test_an_unknown_observer_is_refused() -> None:
    with pytest.raises(NetwrightError, match=r"Observer.*'median'"):
        quantize(network(), [images()], observer="median")  # pyright: ignore[reportArgumentType]
