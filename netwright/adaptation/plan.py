"""From a byte budget to a network that trains within it: choose a checkpointing plan, predict its peak, build it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from netwright.adaptation.checkpoint import Checkpointed
from netwright.adaptation.tape import Tape
from netwright.core.errors import NetwrightError, unknown
from netwright.cost.count import count
from netwright.cost.memory.checkpointing import Part, chain_of, cuts_of, every_block, recomputed_macs, square_root
from netwright.cost.memory.optimal_plan import OptimalPlans
from netwright.cost.memory.training import timeline
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph

POLICIES: Mapping[str, Callable[[Graph], tuple[Part, ...]]] = {
    "none": lambda graph: (Part(0, len(graph.ops)),),
    "blocks": every_block,
    "sqrt": square_root,
}
OPTIMAL = "optimal"


@dataclass(frozen=True)
class Planned:
    """A network with its plan. `peak_bytes`: predicted; inputs, activations and gradients, see `plan_training`."""

    network: Checkpointed
    policy: str
    plan: tuple[Part, ...]
    peak_bytes: int
    forward_macs: int
    recomputed_macs: int


def plan_training(
    module: nn.Module,
    *inputs: Tensor,
    policy: str = OPTIMAL,
    budget: int | None = None,
    trainable: Collection[str] | None = None,
    standing: bool = True,
) -> Planned:
    """Return the module in the form that trains by a plan, in the training or eval mode that its parts are in.

    `policy`: none, blocks, sqrt, or optimal, which recomputes least within `budget` bytes. `trainable`: names that
    learn, by default all. The peak is the most that inputs, activations and their gradients take at any one time, with
    what the operations take for themselves; parameters, buffers and optimizer state come on top. `standing`: so do the
    parameters' gradients, which then are there from the step before (`zero_grad(set_to_none=False)`).

    Raises:
        NetwrightError: no such policy, a budget that is missing or that no plan fits, or a network that cannot be run
            again from a capture.
    """
    if policy != OPTIMAL and policy not in POLICIES:
        raise unknown("The checkpointing policy", policy, (*POLICIES, OPTIMAL))
    if (budget is None) == (policy == OPTIMAL):
        raise NetwrightError("The policy optimal, and only it, needs a budget in bytes: budget=30_000_000.")
    names = [name for name, _ in module.named_parameters()] if trainable is None else list(trainable)
    learning = [f"module.{name}" for name in names]
    tape = Tape(capture(module, *inputs, trainable=()))
    graph = tape.graph

    def predicted(plan: Sequence[Part]) -> int:
        joint = capture(Checkpointed(module, tape, plan), *inputs, trainable=learning)
        return max(timeline(joint, standing=standing), default=0)

    if budget is None:
        plan = POLICIES[policy](graph)
        peak = predicted(plan)
    else:
        cuts = cuts_of(graph)
        joint = capture(Checkpointed(module, tape, marks=cuts), *inputs, trainable=learning)
        plans = OptimalPlans(chain_of(joint, graph, cuts, standing=standing), budget + budget // 8)
        plan, peak = _fitting(plans, predicted, budget, cuts, len(graph.ops))
    again = recomputed_macs(graph, plan)
    return Planned(Checkpointed(module, tape, plan), policy, plan, peak, count(graph).macs, again)


_TRIES = 4


def _fitting(
    plans: OptimalPlans,
    predicted: Callable[[Sequence[Part]], int],
    budget: int,
    cuts: tuple[int, ...],
    end: int,
) -> tuple[tuple[Part, ...], int]:
    """Return the cheapest plan whose predicted peak is within the budget, and that peak.

    The planner's own account of a plan is a bound that is near the peak but not equal to it, so what it is given is
    moved by the difference.
    """
    capacity, lowest = budget, None
    best: tuple[float, tuple[Part, ...], int] | None = None
    tried: set[tuple[Part, ...]] = set()
    for _ in range(_TRIES):
        plan = plans.plan(capacity, cuts, end)
        if plan is None or plan in tried:
            break
        tried.add(plan)
        peak = predicted(plan)
        lowest = peak if lowest is None else min(lowest, peak)
        if peak <= budget and (best is None or plans.cost(capacity) < best[0]):
            best = plans.cost(capacity), plan, peak
        capacity += budget - peak
    if best is None:
        least = f" The least that a plan was found for is {lowest:,}." if lowest else ""
        raise NetwrightError(
            f"No checkpointing plan fits {budget:,} bytes for this batch.{least} "
            "Allow more, take a smaller batch or image, or train fewer layers."
        )
    return best[1], best[2]
