"""Liveness against an interpreter that frees; the order search against every order; folding against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph, Op
from netwright.graph.memory.elementwise import is_elementwise, nothing_overwritable, overwritable
from netwright.graph.memory.flow import flow
from netwright.graph.memory.fold import constant_operations, folded_batch_norms, unused_operations
from netwright.graph.memory.lifetimes import lifetimes
from netwright.graph.memory.order import best_order, least_during
from tests.graph.small_flows import every_order, random_graph, run


@pytest.mark.parametrize("compiled", [True, False])
def test_liveness_is_what_an_interpreter_that_frees_holds(compiled: bool) -> None:
    in_place = 0
    for seed in range(300):
        graph = random_graph(seed, 3 + seed % 10)
        for overwrites in (overwritable, nothing_overwritable):
            data = flow(graph, compiled=compiled, overwrites=overwrites)
            lives = lifetimes(data)
            assert list(lives.timeline) == run(data, lives.order)
            in_place += any(len(buffer.values) > 1 for buffer in lives.buffers)
    assert in_place > 50


def test_order_search_finds_the_best_of_all_orders() -> None:
    better = searched = 0
    for seed in range(250):
        data = flow(random_graph(seed, 4 + seed % 5))
        if not data.steps:
            continue
        peaks = [max(run(data, order)) for order in every_order(data)]
        found = best_order(data)
        assert found.exact
        assert found.peak_bytes == min(peaks) == max(run(data, found.steps))
        better += found.peak_bytes < peaks[0]
        searched += max(least_during(data)) < min(peaks)
    assert better > 10
    assert searched > 10  # the search was needed, not only the bound


def test_least_during_is_below_every_order() -> None:
    for seed in range(150):
        data = flow(random_graph(seed, 6))
        least = least_during(data)
        for order in every_order(data):
            for place, held in enumerate(run(data, order)):
                assert least[order[place]] <= held


def test_a_stopped_search_still_proves_a_bound() -> None:
    stopped = 0
    for seed in range(200):
        data = flow(random_graph(seed, 9))
        exact, early = best_order(data), best_order(data, states=0)
        assert early.lower_bound_bytes <= exact.peak_bytes <= early.peak_bytes
        stopped += not early.exact
    assert stopped > 5


def test_compiling_never_costs_memory() -> None:
    for seed in range(200):
        graph = random_graph(seed, 10)
        plain = lifetimes(flow(graph, compiled=False, overwrites=nothing_overwritable)).peak_bytes
        assert lifetimes(flow(graph)).peak_bytes <= lifetimes(flow(graph, compiled=False)).peak_bytes <= plain


@pytest.mark.parametrize(
    ("forward", "in_place"),
    [
        (lambda y: y + y, True),
        (lambda y: y + y.t(), False),  # each element is read twice, at different times
        (lambda y: y + y[:1], False),
        (lambda y: y.view(-1) * 2, True),
        (lambda y: (y + 1) + y, True),
    ],
)
def test_in_place_only_where_no_other_view_is_read(forward: Callable[..., Any], in_place: bool) -> None:
    class Module(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(x @ x)

    graph = capture(Module(), torch.empty(6, 6))
    assert any(len(buffer.values) > 1 for buffer in lifetimes(flow(graph)).buffers) == in_place


class Branches(nn.Module):
    """Two branches whose order matters: the wide one first leaves little behind."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Conv2d(3, 64, 1)
        self.wide = nn.Conv2d(3, 256, 1)
        self.narrow = nn.Conv2d(256, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.keep(x)
        b = self.narrow(self.wide(x))
        return torch.cat([a, b], 1)


def test_a_better_order_is_found_and_proven() -> None:
    data = flow(capture(Branches(), torch.empty(1, 3, 8, 8)))
    pixel = 4 * 8 * 8
    assert lifetimes(data).peak_bytes == pixel * (3 + 64 + 256)
    found = best_order(data)
    assert (found.peak_bytes, found.exact) == (pixel * (3 + 256 + 1), True)
    assert lifetimes(data, found.steps).peak_bytes == found.peak_bytes


def test_batch_norm_folds_where_it_alone_follows_weights() -> None:
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8))
    graph = capture(conv, torch.empty(2, 3, 8, 8))
    folds = folded_batch_norms(graph)
    assert [graph.ops[maker].kind for maker in folds.values()] == ["aten.convolution"]
    assert all(graph.ops[index].kind == "aten.native_batch_norm" for index in folds)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    assert not folded_batch_norms(capture(Shared(), torch.empty(1, 3, 4, 4)))
    joint = capture(conv, torch.empty(2, 3, 8, 8), trainable=["0.weight"])
    assert not folded_batch_norms(joint)


def test_what_depends_on_no_input_is_known_beforehand() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = self.table.exp() * 2
            buffer = torch.zeros(4, 4)
            buffer += x  # written from the input: not constant after all
            return bias + buffer + x.sigmoid().sum() * 0 + bias.sum()

    graph = capture(Table(), torch.empty(4, 4))
    constant, filled = constant_operations(graph)
    assert [graph.ops[index].kind for index in sorted(constant)] == ["aten.exp", "aten.mul", "aten.sum"]
    assert all(graph.storages[index].role == "activation" for index in filled)


def test_random_numbers_are_not_known_beforehand() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand(4).exp()

    graph = capture(Noisy(), torch.empty(4))
    assert {"aten.rand", "aten.exp"} <= {op.kind for op in graph.ops}
    assert not constant_operations(graph)[0]


def test_unused_results_take_no_memory() -> None:
    class Wasteful(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.cat([x, x, x, x])
            return x.cos()

    graph = capture(Wasteful(), torch.empty(16))
    assert [graph.ops[index].kind for index in unused_operations(graph)] == ["aten.cat"]
    assert lifetimes(flow(graph)).peak_bytes == 64
    assert lifetimes(flow(graph, compiled=False)).peak_bytes == 64 + 256


def test_in_place_operations_are_elementwise_too() -> None:
    graph = Graph((), (), (), (), (), "")
    assert is_elementwise(graph, Op("aten.hardtanh_", (), (), {}))
    assert not is_elementwise(graph, Op("aten.convolution", (), (), {}))
    assert not is_elementwise(graph, Op("aten.native_batch_norm", (), (), {"training": True}))
