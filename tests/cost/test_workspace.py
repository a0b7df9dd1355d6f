"""What a convolution takes besides its result, against torch's profiler on this machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from benchmarks.real_memory import allocator_peak
from netwright.core.errors import NetwrightError
from netwright.cost.memory.inference import inference_memory
from netwright.cost.memory.workspace import convolution_workspace
from netwright.graph.capture.trace import capture

THREADS = 1
reads_like_here = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available(),
    reason="the rules were read off a processor with AVX-512",
)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def profiled_peak(module: nn.Module, x: torch.Tensor) -> int:
    with torch.no_grad():
        module(x)
        return allocator_peak(lambda: module(x))


def random_convolution(pick: random.Random) -> tuple[nn.Conv2d, torch.Tensor]:
    channels, kernel = pick.choice([3, 8, 24, 32, 58]), pick.choice([1, 3, 5])
    groups = pick.choice([1, 1, channels])
    out = channels if groups > 1 else pick.choice([8, 24, 64])
    conv = nn.Conv2d(
        channels, out, kernel, stride=pick.choice([1, 2]), padding=kernel // 2, groups=groups, bias=pick.random() < 0.5
    )
    return conv, torch.empty(pick.choice([1, 1, 2]), channels, *[pick.choice([7, 28, 40])] * 2)


def predicted_peak(module: nn.Module, x: torch.Tensor) -> int:
    counted = partial(convolution_workspace, threads=THREADS)
    return inference_memory(capture(module, x), rules="eager", workspace=counted).peak_bytes


@reads_like_here
def test_convolutions_take_what_the_profiler_shows() -> None:
    pick = random.Random(0)
    exact = 0
    for _ in range(40):
        module, x = random_convolution(pick)
        predicted, measured = predicted_peak(module, x), profiled_peak(module, x)
        assert predicted == pytest.approx(measured, rel=0.1), (module, x.shape)
        exact += predicted == measured
    assert exact >= 38


@reads_like_here
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v2", "resnet18"])
def test_networks_take_what_the_profiler_shows(name: str) -> None:
    module, x = torchvision.models.get_model(name).eval(), torch.empty(1, 3, 96, 96)
    assert predicted_peak(module, x) == pytest.approx(profiled_peak(module, x), rel=0.01)


def test_other_operations_take_nothing() -> None:
    graph = capture(nn.Sequential(nn.ConvTranspose2d(4, 4, 3), nn.ReLU()), torch.empty(1, 4, 99, 99))
    assert [convolution_workspace(graph, op) for op in graph.ops] == [0] * len(graph.ops)
    with pytest.raises(NetwrightError, match="eager"):
        inference_memory(graph, workspace=convolution_workspace)
