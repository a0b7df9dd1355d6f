"""Times of operations: aligned with the graph, plausible, and nothing left changed."""

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.speed.measured import align, efficiency_gaps, time_module, time_ops
from netwright.cost.speed.roofline import roofline
from netwright.device.energies import HOROWITZ_45NM
from netwright.device.machine import Machine, Sourced
from netwright.graph.capture.trace import capture

MACHINE = Machine(
    "made",
    "test",
    {"float32": Sourced(1e12, "paper", "test")},
    Sourced(1e12, "paper", "test"),
    HOROWITZ_45NM,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.big, self.small = nn.Conv2d(8, 128, 3, padding=1), nn.Conv2d(128, 2, 1)
        self.norm = nn.BatchNorm2d(128)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        y = self.small(self.norm(self.big(x)).relu_())
        tokens = x.flatten(2).transpose(1, 2)
        return y.mean((2, 3)), self.attention(tokens, tokens, tokens)[0]


def test_times_belong_to_the_operations_of_the_graph():
    net, x = Net(), torch.randn(1, 8, 24, 24)
    graph = capture(net, x)
    timed = time_module(graph, net, x, seconds=0.2)
    assert len(timed.ops_s) == len(graph.ops) and min(timed.ops_s) > 0 and timed.runs >= 5
    by_path = {}
    for op, seconds in zip(graph.ops, timed.ops_s, strict=True):
        by_path[op.path] = by_path.get(op.path, 0.0) + seconds
    assert by_path["big"] > 3 * by_path["small"]  # 36 times the work
    assert sum(timed.ops_s) < 1.5 * timed.total_s
    assert len(time_ops(net, x.to("meta"), seconds=0.05)) == len(graph.ops)


def test_the_module_and_torch_are_left_as_they_were():
    net = Net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    threads, fast_path = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    time_ops(net, torch.randn(1, 8, 8, 8), seconds=0.01)
    assert net.training and net.norm.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert (torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()) == (threads, fast_path)
    assert torch.tensor([1e-40]).mul(1.0) > 0  # denormal numbers still count
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (2, 5, 16)),
        (nn.LSTM(8, 16, 2, batch_first=True), (2, 5, 8)),
        (nn.ConvTranspose2d(3, 4, 3).to(memory_format=torch.channels_last), (1, 3, 8, 8)),
        (nn.Sequential(nn.GroupNorm(2, 4), nn.Dropout(), nn.AdaptiveAvgPool2d(3)), (1, 4, 8, 8)),
    ],
)
def test_a_real_run_has_the_operations_of_the_captured_graph(module, shape):
    x = torch.randn(shape)
    assert len(time_ops(module, x, seconds=0.01)) == len(capture(module, x).ops)


def test_what_cannot_be_aligned_is_refused():
    class Moody(nn.Module):
        def forward(self, x):
            return x + 1 if x.shape[0] == 1 else x * 2

    graph = capture(Moody(), torch.randn(1, 4))
    with pytest.raises(NetwrightError, match=r"first aten\.add and aten\.mul"):
        time_module(graph, Moody(), torch.randn(2, 4), seconds=0.01)
    with pytest.raises(NetwrightError, match="whose weights are on the CPU"):
        time_ops(nn.Linear(3, 3, device="meta"), torch.randn(1, 3))


def test_small_differences_keep_all_time_at_its_place():
    seconds = [1.0, 2.0, 4.0, 8.0]
    assert align("abcd", "abcd", seconds) == (tuple(seconds), 0)
    assert align("axbcd", "abcd", seconds) == ((1.0, 0.0, 2.0, 4.0, 8.0), 1)  # x was kept from an earlier run
    assert align("aXd", "abcd", seconds) == ((1.0, 6.0, 8.0), 1)  # X runs as b and c
    assert align("acd", "abcd", seconds) == ((3.0, 4.0, 8.0), 0)
    with pytest.raises(NetwrightError, match="first x and a"):
        align("xyzd", "abcd", [4.0, 3.0, 2.0, 8.0])


def test_gaps_tell_what_is_possible_from_what_was_reached():
    net, x = Net(), torch.randn(1, 8, 24, 24)
    graph = capture(net, x)
    bounds = roofline(graph, count(graph), MACHINE)
    gaps = efficiency_gaps(graph, bounds, [1e-3] * len(graph.ops), MACHINE)
    assert len({gap.path for gap in gaps}) == len(gaps)
    assert sum(gap.macs for gap in gaps) == count(graph).macs
    assert sum(gap.bound_ms for gap in gaps) == pytest.approx(bounds.total.value)
    big = next(gap for gap in gaps if gap.path == "big")
    assert big.waterline == pytest.approx(1.0)
    assert (big.bound, big.possible) == ("compute", 1.0)  # 9 multiply-accumulates a byte and more
    assert big.reached == pytest.approx(big.macs / 1e-3 / 1e12)
    norm = next(gap for gap in gaps if gap.path == "norm")
    assert norm.possible == norm.reached == 0 and 0 < norm.utilisation < 1
    assert norm.lost_ms == pytest.approx(norm.measured_ms - norm.bound_ms)
    assert set(big.to_json()) >= {"path", "intensity", "waterline", "possible", "reached", "utilisation"}
