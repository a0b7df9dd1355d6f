"""From a byte budget to a network that trains within it: choose a checkpointing plan, predict its peak, build it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from netwright.adaptation.checkpointing.chain import chain_of, cuts_of
from netwright.adaptation.checkpointing.network import Checkpointed
from netwright.adaptation.checkpointing.optimal import OptimalPlans
from netwright.adaptation.checkpointing.segments import Segment, every_block, recomputed_macs, square_root
from netwright.adaptation.checkpointing.tape import Tape
from netwright.core.errors import NetwrightError, unknown
from netwright.core.units import BYTES, parse_quantity
from netwright.cost.count import count
from netwright.cost.memory.training import timeline
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph

POLICIES: Mapping[str, Callable[[Graph], tuple[Segment, ...]]] = {
    "none": lambda graph: (Segment(0, len(graph.ops)),),
    "blocks": every_block,
    "sqrt": square_root,
}
OPTIMAL = "optimal"


class HasInputs(Protocol):
    """What a plan needs of the example that a training run gives: the inputs of one step."""

    @property
    def inputs(self) -> Sequence[Tensor]: ...


@dataclass(frozen=True)
class Planned:
    """A network with its plan. `peak_bytes`: predicted; inputs, activations and gradients, see `plan_training`."""

    network: Checkpointed
    policy: str
    plan: tuple[Segment, ...]
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

    def predicted(plan: Sequence[Segment]) -> int:
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
    predicted: Callable[[Sequence[Segment]], int],
    budget: int,
    cuts: tuple[int, ...],
    end: int,
) -> tuple[tuple[Segment, ...], int]:
    """Return the cheapest plan whose predicted peak is within the budget, and that peak.

    The planner's own account of a plan is a bound that is near the peak but not equal to it, so what it is given is
    moved by the difference.
    """
    capacity, lowest = budget, None
    best: tuple[float, tuple[Segment, ...], int] | None = None
    tried: set[tuple[Segment, ...]] = set()
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


@dataclass(frozen=True)
class Checkpointing:
    """Train with fewer activations in memory: a plan of `netwright.adaptation.plan.PLANS`.

    Attributes:
        budget: bytes for inputs, activations and gradients, a number or a text such as "30MB".
        policy: none, blocks or sqrt, which take no budget, or optimal.
    """

    budget: int | str | None = None
    policy: str = OPTIMAL

    def planned(self, module: nn.Module, inputs: Sequence[Tensor], trainable: Collection[str]) -> Planned:
        """Return the network that trains by the plan, and its predicted peak.

        Raises:
            NetwrightError: as `plan_training`.
        """
        budget = self.budget
        if isinstance(budget, str):
            budget = int(parse_quantity(budget, BYTES, "The budget of checkpointing"))
        return plan_training(module, *inputs, policy=self.policy, budget=budget, trainable=trainable)

    def plan(self, module: nn.Module, example: HasInputs) -> nn.Module:
        """Return what computes the training steps, for inputs of the example's shapes; trained is what requires gradients."""
        names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        return self.planned(module, example.inputs, names).network
