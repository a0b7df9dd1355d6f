"""Bytes moved, against what is written down by hand for small modules."""

import pytest
import torch
from torch import nn

from netwright.cost.speed.traffic import compulsory_bytes, moved_bytes, tensor_bytes
from netwright.graph.capture.trace import capture
from netwright.graph.dtypes import BITS, bytes_of
from netwright.graph.graph import Graph, Op, Ref, Storage, Tensor


def moved(module, *inputs, **options):
    graph = capture(module, *inputs, **options)
    return {
        op.kind.partition(".")[2]: count
        for op, count in zip(graph.ops, moved_bytes(graph), strict=True)
        if op.stage == "forward"
    }


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def test_a_convolution_moves_input_weight_bias_and_output():
    found = moved(nn.Conv2d(3, 8, 3, padding=1), torch.empty(2, 3, 10, 10))
    assert found == {"convolution": 4 * (2 * 3 * 100 + 8 * 3 * 9 + 8 + 2 * 8 * 100)}


def test_half_as_wide_types_move_half_as_much():
    found = moved(nn.Linear(64, 32).half(), torch.empty(4, 64, dtype=torch.float16))
    assert found["addmm"] == 2 * (4 * 64 + 64 * 32 + 32 + 4 * 32)


def test_views_move_nothing_and_copies_move_twice():
    found = moved(Of(lambda x: x.flatten(1).t().contiguous()), torch.empty(4, 6, 5))
    assert found["t"] == 0
    assert found["clone"] == 2 * 4 * 4 * 6 * 5


def test_an_operand_used_twice_is_read_once_and_one_that_is_expanded_is_not_read_again():
    assert moved(Of(lambda x: x * x), torch.empty(100)) == {"mul": 2 * 400}
    found = moved(Of(lambda x, y: x + y.expand(50, 100)), torch.empty(50, 100), torch.empty(100))
    assert found["add"] == 2 * 4 * 5000 + 400


def test_in_place_reads_and_writes_the_same_bytes():
    assert moved(nn.ReLU(inplace=True), torch.empty(100)) == {"relu_": 2 * 400}


def test_what_is_only_made_is_not_read_and_a_gather_reads_what_it_returns():
    assert moved(Of(lambda x: torch.zeros_like(x) + 1), torch.empty(100))["zeros_like"] == 400
    found = moved(nn.Embedding(1000, 16), torch.empty(4, dtype=torch.int64))
    assert found == {"embedding": 2 * 4 * 16 * 4 + 4 * 8}


def test_parts_of_one_storage_are_each_counted():
    found = moved(Of(lambda x: torch.cat(x.chunk(2, 1), 0)), torch.empty(10, 6))
    assert found["cat"] == 2 * 4 * 60


def test_compulsory_bytes_are_weights_and_the_two_ends():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    graph = capture(net, torch.empty(5, 8))
    weights = 8 * 16 + 16 + 16 * 4 + 4
    assert compulsory_bytes(graph) == 4 * (weights + 5 * 8 + 5 * 4)
    assert compulsory_bytes(graph) < sum(moved_bytes(graph))
    assert tensor_bytes(graph, graph.inputs[0]) == 4 * 5 * 8


def test_the_backward_pass_moves_more_than_the_forward_pass():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    graph = capture(net, torch.empty(2, 3, 12, 12), trainable=[name for name, _ in net.named_parameters()])
    bytes_of = {"forward": 0, "backward": 0}
    for op, count in zip(graph.ops, moved_bytes(graph), strict=True):
        bytes_of[op.stage] += count
    assert 1.2 * bytes_of["forward"] < bytes_of["backward"] < 4 * bytes_of["forward"]


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        ("uint16", 16),
        ("uint32", 32),
        ("uint64", 64),
        ("int2", 2),
        ("uint2", 2),
        ("float4_e2m1", 4),
        ("int4", 4),
        ("bool", 8),
    ],
)
def test_every_type_moves_its_own_width(dtype: str, bits: int):
    """Wide unsigned and narrow types were all counted as 8 bits."""
    tensors = (Tensor((100,), dtype, 0), Tensor((100,), dtype, 1))
    storages = tuple(Storage(bytes_of((100,), dtype), role, role) for role in ("input", "activation"))
    op = Op("aten.neg", (0,), (1,), {"self": Ref(0)})
    graph = Graph(tensors, storages, (op,), (0,), (1,), "by hand")
    assert moved_bytes(graph) == (2 * 100 * bits // 8,)


def test_types_are_as_wide_as_torch_stores_them():
    """Types narrower than a byte are packed here, as files hold them; torch keeps each in a byte of its own."""
    for dtype in {value for value in vars(torch).values() if isinstance(value, torch.dtype)}:
        name = str(dtype).removeprefix("torch.")
        if name in BITS and BITS[name] >= 8:
            assert BITS[name] == 8 * dtype.itemsize, name
    common = (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex32 complex64"
    )
    assert set(common.split()) <= set(BITS)


def test_a_filled_copy_is_read():
    found = moved(Of(lambda x: x.masked_fill(x > 0, 0.0)), torch.empty(100))
    assert found["masked_fill"] == 400 + 100 + 400
