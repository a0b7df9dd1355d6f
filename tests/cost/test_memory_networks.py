"""Peak memory of real architectures against figures that others measured; no weights are loaded."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from netwright.cost.memory.inference import inference_memory
from netwright.graph.capture.trace import capture
from netwright.graph.files.tflite import read_tflite
from netwright.graph.graph import Graph
from netwright.graph.memory.elementwise import nothing_overwritable
from netwright.graph.memory.flow import flow
from netwright.graph.memory.lifetimes import lifetimes
from netwright.graph.memory.order import best_order
from netwright.graph.memory.plan import plan

DATA = Path(os.environ.get("NETWRIGHT_DATA", "none"))
MODELS = (DATA if DATA.is_dir() else DATA.parent) / "models"

# Bytes that ExecuTorch 1.5.1 planned for these, from `to_edge(export(...)).to_executorch()`.
EXECUTORCH = {
    "mobilenetv2_100": 9_936_896,
    "mobilenetv3_large_100": 8_331_264,  # hard swish in parts
    "vit_tiny_patch16_224": 2_141_488,  # attention in parts, weights transposed
    "resnet18": 6_422_528,
    "shufflenet_v2_x1_0": 4_698_112,  # channels split, concatenated and shuffled
    "densenet121": 9_715_712,  # its greedy plan falls short by a lot
}
# The same for the integer kernels of its Cortex-M backend.
CORTEX_M = {
    "mobilenetv2_100": 1_505_280,
    "mobilenetv3_large_100": 1_003_520,
    "mobilenetv3_small_100": 752_752,  # with a kernel's scratch of 112 bytes
    "resnet18": 1_204_224,
    "shufflenet_v2_x1_0": 752_640,
}


@cache
def graph_of(name: str) -> Graph:
    with torch.device("meta"):
        own = name in torchvision.models.list_models()
        module = torchvision.models.get_model(name) if own else timm.create_model(name)
        return capture(module, torch.empty(1, 3, 224, 224))


@pytest.mark.parametrize("name", EXECUTORCH)
def test_executorch_plans_as_predicted(name: str) -> None:
    assert inference_memory(graph_of(name), rules="executorch").arena_bytes == EXECUTORCH[name]


@pytest.mark.parametrize("name", CORTEX_M)
def test_executorch_plans_integer_kernels_as_predicted(name: str) -> None:
    memory = inference_memory(graph_of(name), rules="executorch", dtype="int8")
    assert memory.arena_bytes == pytest.approx(CORTEX_M[name], rel=0.001)


def test_mobilenet_in_eager_and_planned() -> None:
    graph = graph_of("mobilenetv2_100")
    pixels = 112 * 112 * 4
    # BatchNorm's input and output, the stem's result and the block's input that callers hold on to
    assert inference_memory(graph, rules="eager").peak_bytes == (96 + 96 + 32 + 16) * pixels
    planned = inference_memory(graph)
    # the expanded map and what the depthwise convolution, of stride 2, makes of it
    assert planned.peak_bytes == planned.arena_bytes == planned.lower_bound_bytes == (96 + 24) * pixels
    assert [tensor.name for tensor in planned.peak_tensors] == ["blocks.1.0.conv_pw", "blocks.1.0.conv_dw"]


@pytest.mark.parametrize("name", EXECUTORCH)
def test_orders_and_arenas_of_networks_are_proven(name: str) -> None:
    data = flow(graph_of(name))
    found = best_order(data)
    assert found.exact
    assert plan(lifetimes(data, found.steps).buffers).exact


@pytest.mark.skipif(not MODELS.is_dir(), reason="NETWRIGHT_DATA has no folder models beside its data")
@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("mlperf-resnet8-cifar10", 49_152),
        ("mlperf-vww96", 55_296),
        ("tflm-person-detect", 55_296),
        ("mcunet-vww", 161_472),
    ],
)
def test_microcontroller_networks_need_their_known_bound(name: str, bound: int) -> None:
    """Layer by layer and nothing in place."""
    data = flow(read_tflite(MODELS / f"{name}-int8.tflite"), overwrites=nothing_overwritable)
    found = best_order(data)
    assert (found.peak_bytes, found.exact) == (bound, True)
    made = plan(lifetimes(data, found.steps).buffers)
    assert (made.arena_bytes, made.exact) == (bound, True)
