"""Checkpointing plans: exact gradients, predicted peaks, and an optimum that brute force agrees with."""

from __future__ import annotations

import copy
import itertools
import platform
from math import inf

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.real_memory import allocator_peak
from netwright.adaptation.checkpointing.chain import Chain, ChainStage, chain_of, cuts_of
from netwright.adaptation.checkpointing.network import Checkpointed
from netwright.adaptation.checkpointing.optimal import OptimalPlans
from netwright.adaptation.checkpointing.plan import POLICIES, plan_training
from netwright.adaptation.checkpointing.segments import Segment, blocks_of, may_start, recomputed_macs
from netwright.adaptation.checkpointing.tape import Tape
from netwright.core.errors import NetwrightError
from netwright.cost.memory.training import timeline
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph


class Bottleneck(nn.Module):
    """With a shortcut, in-place activations of three kinds, and dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(True))
        self.depth = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(True)
        )
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.project(self.depth(self.expand(x))))


class Net(nn.Module):
    """A stem, numbered blocks, attention over the pixels, and a head."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True))
        self.blocks = nn.Sequential(*(Bottleneck(8) for _ in range(blocks)))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.blocks(self.stem(x)).flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return self.head((tokens + nn.functional.scaled_dot_product_attention(q, k, v)).mean(1))


def step(network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
    """Return output, gradients and buffers of one step from fixed random numbers."""
    torch.manual_seed(3)
    network.zero_grad()
    out = network(x)
    out.square().sum().backward()
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    return out.detach(), gradients, [buffer.clone() for buffer in network.buffers()]


def same(a: list, b: list) -> bool:
    return all((x is None) == (y is None) and (x is None or torch.equal(x, y)) for x, y in zip(a, b, strict=True))


def forward_graph(module: nn.Module, x: Tensor) -> Graph:
    return capture(module, x, trainable=())


def nested(
    start: int, stop: int, generator: np.random.Generator, starts: list[int], depth: int = 0
) -> tuple[Segment, ...]:
    """Return a random plan whose second runs start only where they may."""
    inside = [place for place in starts if start < place < stop]
    chosen = sorted(generator.choice(inside, min(len(inside), 3), replace=False).tolist()) if inside else []
    parts = []
    for first, last in itertools.pairwise([start, *chosen, stop]):
        again = first in starts and generator.random() < 0.7
        inner = nested(first, last, generator, starts, depth + 1) if again and depth < 3 and last - first > 3 else ()
        parts.append(Segment(first, last, not again, inner))
    return tuple(parts)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_gradients_and_buffers_are_those_of_the_module(policy: str) -> None:
    module, x = Net().train(), torch.randn(2, 3, 16, 16)
    twin = copy.deepcopy(module)
    planned = plan_training(twin, x, policy=policy)
    for _ in range(2):  # state of one step must not reach into the next
        expected, got = step(module, x), step(planned.network, x)
        assert torch.equal(expected[0], got[0])
        assert same(expected[1], got[1])
        assert same(expected[2], got[2])


def test_any_nested_plan_is_exact() -> None:
    module, x = Net().train(), torch.randn(2, 3, 16, 16)
    tape = Tape(forward_graph(module, x))
    end = len(tape.steps)
    starts = [place for place in range(end) if may_start(tape.graph, place)]
    state = copy.deepcopy(module.state_dict())
    expected = step(module, x)
    generator = np.random.default_rng(0)
    deepest = 0
    for _ in range(30):
        plan = nested(0, end, generator, starts)
        deepest += any(inner.parts for part in plan for inner in part.parts)
        module.load_state_dict(state)
        got = step(Checkpointed(module, tape, plan), x)
        assert torch.equal(expected[0], got[0])
        assert same(expected[1], got[1])
        assert same(expected[2], got[2])
    assert deepest > 5


def test_a_frozen_set_trains_alike_and_evaluation_too() -> None:
    module, x = Net().eval(), torch.randn(2, 3, 16, 16)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith("head") or name.endswith("bias"))
    twin = copy.deepcopy(module)
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    planned = plan_training(twin, x, policy="blocks", trainable=names)
    expected, got = step(module, x), step(planned.network, x)
    assert same(expected[1], got[1]) and same(expected[2], got[2])


def test_a_budget_is_kept_and_less_memory_costs_more() -> None:
    module, x = Net(2).train(), torch.randn(4, 3, 32, 32)
    whole = plan_training(module, x, policy="none")
    blocks = plan_training(module, x, policy="blocks")
    assert blocks.peak_bytes < whole.peak_bytes and blocks.recomputed_macs > whole.recomputed_macs == 0
    again = -1
    for share in (1.0, 0.75, 0.6):
        planned = plan_training(module, x, budget=int(share * whole.peak_bytes))
        assert planned.peak_bytes <= share * whole.peak_bytes
        assert planned.recomputed_macs >= again
        again = planned.recomputed_macs
    assert again > 0
    assert plan_training(module, x, budget=blocks.peak_bytes).recomputed_macs <= blocks.recomputed_macs
    with pytest.raises(NetwrightError, match="No checkpointing plan fits 1,000 bytes"):
        plan_training(module, x, budget=1000)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="what convolutions take for themselves is known of oneDNN on x86",
)
def test_the_predicted_peak_is_the_measured_one() -> None:
    """Against the allocator's own events, parameters' gradients standing; without attention, whose kernel takes more."""
    net = Net(3)
    module = nn.Sequential(net.stem, *net.blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head).train()
    x = torch.randn(8, 3, 64, 64)
    for settings in ({"policy": "none"}, {"policy": "sqrt"}, {"budget": 9_000_000}):
        planned = plan_training(module, x, **settings)  # type: ignore[arg-type]
        step(planned.network, x)

        def again(network: nn.Module = planned.network) -> None:
            network(x).sum().backward()

        assert allocator_peak(again) + x.nbytes == pytest.approx(planned.peak_bytes, rel=0.05)


def test_blocks_are_numbered_modules_and_what_is_between() -> None:
    graph = forward_graph(Net(), torch.empty(1, 3, 16, 16))
    assert [graph.ops[place].path for place in blocks_of(graph)] == [
        "stem.0",
        *(f"blocks.{number}.expand.0" for number in range(4)),
        "",
    ]


def test_recomputation_counts_every_further_run() -> None:
    module = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 10))
    graph = forward_graph(module, torch.empty(3, 10))
    end = len(graph.ops)
    assert recomputed_macs(graph, (Segment(0, end),)) == 0
    assert recomputed_macs(graph, (Segment(0, end, False),)) == 2 * 600
    assert recomputed_macs(graph, (Segment(0, end, False, (Segment(0, end, False),)),)) == 4 * 600


def brute_force(chain: Chain, capacity: int) -> float:
    """Return the least cost over all nested plans of a chain, by trying them all."""
    sizes, stages = chain.sizes, chain.stages

    def total(numbers: set[int] | frozenset[int]) -> int:
        return sum(sizes[number] for number in numbers)

    def least(start: int, stop: int, room: int, *, again: bool = False) -> float:
        held = stages[start].held
        best = inf
        saved: set[int] = set()
        fits_kept = fits_skipped = True
        cost = 0.0
        for middle in range(start + 1, stop + 1):
            here = stages[middle - 1]
            cost += here.cost
            saved |= here.saves - held
            for live, extra in zip(here.live, here.extra, strict=True):
                fits_skipped &= extra + total(live - held) <= room
                fits_kept &= extra + total(saved | (live - held)) <= room
            fits_kept &= total(saved) + here.back <= room
            if middle == stop:
                return 0.0 if fits_kept and not again else best
            after = stages[middle].held - held
            if stages[start].opens and fits_skipped and room >= total(after):
                best = min(best, cost + least(start, middle, room) + least(middle, stop, room - total(after)))
            left = room - total(saved | after)
            if not again and fits_kept and left >= 0:
                best = min(best, least(middle, stop, left, again=True))
        return best

    return least(0, len(stages), capacity)


def test_the_plan_is_optimal_on_random_chains() -> None:
    generator = np.random.default_rng(1)
    finite = 0
    for number in range(60):
        work = (4, 40)[number % 2]  # bytes of temporaries: a few, or more than a stage saves
        count = int(generator.integers(2, 7))
        sizes = tuple(int(size) for size in generator.integers(1, 9, 3 * count))
        stages = []
        for stage in range(count):
            made = stage * 3
            held = (
                frozenset({made - 3} | ({made - 6} if stage > 1 and generator.random() < 0.4 else set()))
                if stage
                else frozenset()
            )
            saves = frozenset({made, made + 1} if generator.random() < 0.5 else {made}) | (
                held if generator.random() < 0.5 else frozenset()
            )
            stages.append(
                ChainStage(
                    held,
                    saves,
                    (held | {made, made + 2},),
                    (int(generator.integers(0, work)),),
                    int(generator.integers(1, 3 * work)),
                    float(generator.integers(1, 20)),
                    bool(generator.random() < 0.85),
                )
            )
        chain = Chain(tuple(stages), sizes, 0)
        most = sum(sizes) + 30 + 3 * work
        plans = OptimalPlans(chain, most, slots=most)  # a slot is a byte, so nothing is rounded
        for capacity in range(5, most, 4):
            expected = brute_force(chain, capacity)
            assert plans.cost(capacity) == pytest.approx(expected)
            plan = plans.plan(capacity, tuple(range(count)), count)
            assert (plan is None) == (expected == inf)
            if plan is not None:
                finite += 1
                assert _cost(plan, chain) == pytest.approx(expected)
    assert finite > 100


def _cost(plan: tuple[Segment, ...], chain: Chain) -> float:
    return sum(
        sum(stage.cost for stage in chain.stages[part.start : part.stop]) + _cost(part.parts, chain)
        for part in plan
        if not part.kept
    )


def test_what_cannot_be_is_said() -> None:
    module, x = Net(), torch.randn(1, 3, 16, 16)
    with pytest.raises(NetwrightError, match="needs a budget"):
        plan_training(module, x)
    with pytest.raises(NetwrightError, match="Did you mean 'blocks'"):
        plan_training(module, x, policy="block", budget=1)
    planned = plan_training(module.train(), x, policy="blocks")
    with pytest.raises(NetwrightError, match="shapes"):
        planned.network(torch.randn(2, 3, 16, 16))
    loss = planned.network(x).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(NetwrightError, match="ran twice"):
        loss.backward()


def test_a_standing_gradient_does_not_count() -> None:
    module = nn.Linear(100, 100, bias=False)
    graph = capture(module, torch.empty(1, 100), trainable=["weight"])
    assert timeline(graph)[-1] >= 40_000
    assert max(timeline(graph, standing=True)) <= max(timeline(graph))


def test_gradients_that_stand_are_not_held_through_the_backward_pass() -> None:
    """The last layer's weight gradient is made first: unless it stands, it is alive while the first layer is differentiated."""
    module, x = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1000, bias=False)), torch.empty(1, 10)
    tape = Tape(capture(module, x, trainable=()))
    cuts = cuts_of(tape.graph)
    learning = ["module.0.weight", "module.2.weight"]
    joint = capture(Checkpointed(module, tape, marks=cuts), x, trainable=learning)
    standing, held = (chain_of(joint, tape.graph, cuts, standing=standing) for standing in (True, False))
    assert held.stages[0].back - standing.stages[0].back == 4 * 10 * 1000
    assert held.stages[-1].back >= standing.stages[-1].back


def test_cuts_are_at_most_so_many() -> None:
    graph = forward_graph(Net(), torch.empty(1, 3, 16, 16))
    assert cuts_of(graph)[0] == 0
    assert len(cuts_of(graph, most=10)) == 10


def test_an_operation_that_changes_a_shape_in_place_runs_again() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x).mean((2, 3), keepdim=True)
            y.squeeze_(3).squeeze_(2)
            return self.last(y * 2)

    module, x = Squeezed(), torch.randn(2, 3, 8, 8)
    expected = step(module, x)
    for policy in ("none", "blocks"):
        got = step(plan_training(module, x, policy=policy).network, x)
        assert torch.equal(expected[0], got[0]) and same(expected[1], got[1])


def test_a_network_that_reads_a_hidden_tensor_is_refused() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.scale = [torch.ones(3)]

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.scale[0]

    with pytest.raises(NetwrightError, match="Register it as a buffer"):
        plan_training(Hidden(), torch.randn(1, 3), policy="blocks")


def test_what_would_differ_the_second_time_is_refused() -> None:
    class Changes(nn.Module):
        def __init__(self, what: str) -> None:
            super().__init__()
            self.layer, self.what = nn.Linear(3, 3), what
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            if self.what == "input":
                x.sub_(1)
            if self.what == "buffer":
                x = x - self.mean
                self.get_buffer("mean").add_(0.1)
            return self.layer(x)

    for what in ("input", "buffer"):
        with pytest.raises(NetwrightError, match="changes in place"):
            plan_training(Changes(what), torch.randn(1, 3), policy="blocks")
    assert plan_training(Changes("nothing"), torch.randn(1, 3), policy="blocks").peak_bytes > 0


def test_a_plan_that_cannot_be_carried_out_is_refused() -> None:
    module, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), torch.randn(2, 4)
    tape = Tape(forward_graph(module, x))
    place = next(place for place, op in enumerate(tape.graph.ops) if op.kind == "aten.relu_")
    with pytest.raises(NetwrightError, match="changed in place later"):
        Checkpointed(module, tape, (Segment(0, place), Segment(place, len(tape.steps), kept=False)))


def test_an_in_place_activation_seen_through_a_view() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            view = y.view(-1, 2)
            nn.functional.silu(y, inplace=True)
            return self.last(view * 2)

    module, x = Viewed(), torch.randn(3, 4)
    expected = step(module, x)
    for policy in ("none", "blocks"):
        got = step(plan_training(module, x, policy=policy).network, x)
        assert torch.equal(expected[0], got[0]) and same(expected[1], got[1])
