"""Peak memory under the three rules, on networks small enough to add up by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.cost.memory.inference import inference_memory
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph, Op, Storage, Tensor
from netwright.graph.memory.executorch import executorch_plan_bytes, lowered_by_executorch
from netwright.graph.memory.lifetimes import Buffer

PIXELS = 16 * 16


class Residual(nn.Module):
    """x -> conv, BatchNorm, ReLU6 in place -> + conv of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(inplace=True)
        self.mix = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.conv(x)))
        return x + self.mix(x)


@pytest.fixture(scope="module")
def residual() -> Graph:
    return capture(Residual(), torch.empty(1, 3, 16, 16))


def test_planned_counts_what_a_compiler_needs(residual: Graph) -> None:
    memory = inference_memory(residual)
    # the sum goes over one of its inputs, so the most is two maps of 8 channels
    assert memory.peak_bytes == memory.arena_bytes == memory.lower_bound_bytes == 2 * 8 * PIXELS * 4
    assert memory.lower_bound_kind == "reached by an order, proven over all orders"
    assert [residual.ops[step].kind for step in memory.steps] == [
        "aten.convolution",
        "aten.hardtanh_",
        "aten.convolution",
        "aten.add",
    ]
    assert memory.timeline == (11 * PIXELS * 4, 8 * PIXELS * 4, 16 * PIXELS * 4, 16 * PIXELS * 4)
    assert memory.peak_op == memory.steps[2]
    assert [(alive.name, alive.shape, alive.bytes) for alive in memory.peak_tensors] == [
        ("conv", (1, 8, 16, 16), 8 * PIXELS * 4),
        ("mix", (1, 8, 16, 16), 8 * PIXELS * 4),
    ]
    assert memory.labels[0] == "conv convolution"


def test_narrower_types_shrink_every_activation(residual: Graph) -> None:
    full = inference_memory(residual).peak_bytes
    for rules in ("planned", "eager", "executorch"):
        whole = inference_memory(residual, rules=rules)
        assert inference_memory(residual, rules=rules, dtype="float32") == whole
        assert inference_memory(residual, rules=rules, dtype="float16").peak_bytes * 2 == whole.peak_bytes
    quarter = inference_memory(residual, dtype="int8")
    assert quarter.peak_bytes * 4 == full
    assert {tensor.dtype for tensor in quarter.peak_tensors} == {"int8"}


def test_eager_holds_what_torch_held(residual: Graph) -> None:
    memory = inference_memory(residual, rules="eager")
    assert len(memory.timeline) == len(residual.ops)
    # conv and norm, then norm (changed in place), mix and their sum: three maps at the end; the input is the caller's
    assert memory.peak_bytes == 3 * 8 * PIXELS * 4
    assert residual.ops[memory.peak_op].kind == "aten.add"
    assert memory.arena_bytes is None


def test_executorch_copies_what_torch_does_in_place(residual: Graph) -> None:
    lowered = lowered_by_executorch(residual)
    assert not any(op.writes for op in lowered.ops)
    assert [op.kind for op in lowered.ops if op.kind != "aten.empty"] == [
        "aten.convolution",
        "aten.native_batch_norm",
        "aten.hardtanh_",
        "aten.convolution",
        "aten.add",
    ]
    memory = inference_memory(residual, rules="executorch")
    assert memory.arena_bytes == memory.peak_bytes == 3 * 8 * PIXELS * 4


def test_executorch_shares_objects_largest_first() -> None:
    # two large ones alive together, a small one alive with the first only, a middle one alive with both
    buffers = [Buffer(96, 0, 2, ()), Buffer(80, 2, 3, ()), Buffer(16, 0, 1, ()), Buffer(40, 2, 2, ())]
    # objects of 96, 80 and 48; the small one takes the place of the second
    assert executorch_plan_bytes(buffers) == 96 + 80 + 48
    # on top of a buffer that leaves room in its object: the second object holds 32 and, above it, 16
    assert executorch_plan_bytes([Buffer(64, 0, 1, ()), Buffer(32, 2, 3, ()), Buffer(16, 2, 3, ())]) == 64
    assert executorch_plan_bytes([]) == 0


def test_a_graph_that_never_ran_is_read_by_its_data_flow() -> None:
    """As a .tflite gives it: a reshape with storage of its own, nothing known of when memory was freed."""
    storages = [Storage(64, "input", "x"), *(Storage(64, "activation", name) for name in "abc")]
    tensors = [Tensor((16,), "float32", index) for index in range(4)]
    ops = [
        Op("tflite.CONV_2D", (0,), (1,), {}),
        Op("tflite.RESHAPE", (1,), (2,), {}, view=True),
        Op("tflite.RELU", (2,), (3,), {}),
    ]
    graph = Graph(tuple(tensors), tuple(storages), tuple(ops), (0,), (3,), "file")
    assert inference_memory(graph).timeline == (128, 64)
    assert inference_memory(graph, rules="eager").timeline == (128, 128)


def test_wrong_names_say_what_is_allowed(residual: Graph) -> None:
    with pytest.raises(NetwrightError, match="planned"):
        inference_memory(residual, rules="plan")  # type: ignore[arg-type]
    with pytest.raises(NetwrightError, match="float16"):
        inference_memory(residual, dtype="fp16")


def test_the_tensors_at_the_peak_are_those_that_are_alive_there() -> None:
    class Growing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.exp()
            y = torch.cat([y, y])
            return torch.cat([y, y, y])

    found = inference_memory(capture(Growing(), torch.empty(16)), rules="eager")
    assert [tensor.bytes for tensor in found.peak_tensors] == [6 * 64, 2 * 64]
    assert sum(tensor.bytes for tensor in found.peak_tensors) == found.peak_bytes
