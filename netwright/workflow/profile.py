"""Everything that one network costs, for a module, a graph or a word, on a device by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netwright.cost.profile import Checkpointing, Profile
    from netwright.cost.rules.own import OwnRules
    from netwright.device.machine import Machine
    from netwright.graph.graph import Graph
    from netwright.models.own_space import GivenSpace
    from netwright.workflow.models import Model


def profile(
    model: nn.Module | Graph | str,
    *inputs: Any,
    name: str | None = None,
    device: Machine | str | None = None,
    train: str | None = None,
    optimizer: str = "momentum",
    dtype: str | None = None,
    measure: bool = False,
    space: GivenSpace | None = None,
    rules: OwnRules | None = None,
) -> Profile:
    """Return what a module, or a graph that was read from a file, costs for one call on these inputs.

    Args:
        model: a module, a graph, or a word that `netwright profile` takes: a timm name, SPACE:ARCH, RUN:ARCH, a file, ...
        inputs: example inputs, which may be on the meta device; a word that says its input needs none.
        name: what the profile calls the model.
        device: a `Machine` or its name, for latency bound and energy.
        train: also the memory of one training step: full, last, bias, norm+last, lora, or a pattern of parameter names; with
            :none, :blocks, :sqrt or a number of bytes such as :30MB also a checkpointing plan. The batch is the inputs' own.
        optimizer: sgd, momentum, adam, adamw or adamw8bit.
        dtype: what memory would be in that type.
        measure: run the module and time each operation on this machine.
        space: a space of your own, of which the word names an architecture.
        rules: prices of operations of your own by kind, or FILE.py:NAME of such a dictionary.

    Raises:
        NetwrightError: no such model or device, the module does not run on these inputs, or an argument is none of what is
            allowed.
    """
    from netwright.cost.profile import profile as profile_of
    from netwright.graph.graph import Graph

    if isinstance(model, str):
        read = _read(model, inputs, measure, space)
        model, name, inputs = read.made, name or read.name, inputs or _default(read)
    elif not callable(model) and not isinstance(model, Graph):
        raise NetwrightError(f"A model is given as a module, a graph or a word, not as a {type(model).__name__}.")
    mode, _, plan = (train or "").partition(":")
    found = profile_of(
        model,
        *inputs,
        name=name,
        device=_machine(device),
        train=mode or None,
        optimizer=optimizer,
        dtype=dtype,
        measure=measure,
        rules=rules,
    )
    if not plan or isinstance(model, Graph):
        return found
    return dataclasses.replace(found, checkpointing=checkpointing(model, inputs, mode, plan))


def example_inputs(text: str | None) -> tuple[Tensor, ...]:
    """Return inputs without data for a text such as 1x3x224x224 or 1x77:int64, several with commas.

    Raises:
        NetwrightError: not written so, or no such tensor can be.
    """
    from netwright.cost.profile import example_input
    from netwright.workflow.models import read_shape

    shapes = [read_shape(one) for one in text.split(",")] if text else []
    return tuple(example_input(shape, dtype) for shape, dtype in shapes)


def checkpointing(module: nn.Module, inputs: Sequence[Tensor], mode: str, plan: str) -> Checkpointing:
    """Return what a checkpointing plan costs: a policy by name, or the optimal one for a number of bytes.

    Raises:
        NetwrightError: no such policy, no plan fits, or the network cannot be run again from a capture.
    """
    from netwright.adaptation.checkpointing.plan import POLICIES, plan_training
    from netwright.core.units import BYTES, parse_quantity
    from netwright.cost.profile import Checkpointing
    from netwright.nn.trainable import learner

    learning, names = learner(module, mode)
    if plan in POLICIES:
        made = plan_training(learning.train(), *inputs, policy=plan, trainable=names)
    elif plan[:1].isdigit():
        budget = int(parse_quantity(plan, BYTES, "--train MODE:BYTES"))
        made = plan_training(learning.train(), *inputs, budget=budget, trainable=names)
    else:
        raise unknown("--train: the checkpointing plan", plan, (*POLICIES, "a number of bytes such as 30MB"))
    return Checkpointing(made.policy, made.peak_bytes, made.recomputed_macs)


def refuse_unpriced(found: Sequence[Profile]) -> None:
    """Raise where an operation has no price.

    Raises:
        NetwrightError: names the operations.
    """
    for one in found:
        if one.counts.unpriced:
            kinds = ", ".join(f"{item.kind} ({item.calls}x)" for item in one.counts.unpriced)
            raise NetwrightError(f"{one.model}: no price is known for {kinds}. Leave --strict out to count the rest.")


def _read(word: str, inputs: Sequence[Any], measure: bool, space: GivenSpace | None) -> Model:
    from netwright.workflow.models import read_model

    shapes = [tuple(one.shape) for one in inputs]
    return read_model(word, shape=shapes[0] if shapes else None, shapes=shapes, real=measure, space=space)


def _default(read: Model) -> tuple[Tensor, ...]:
    from netwright.cost.profile import example_input
    from netwright.graph.graph import Graph

    if isinstance(read.made, Graph):
        return ()
    if read.input is None:
        raise NetwrightError(f"{read.name} does not say its input. Give it, for example --input 1x3x224x224.")
    return (example_input(read.input),)


def _machine(device: Machine | str | None) -> Machine | None:
    from netwright.device.machine import Machine
    from netwright.device.machines import machine

    if device is None or isinstance(device, Machine):
        return device
    if not isinstance(device, str):
        raise NetwrightError(f"A device is given by its name or as a Machine, not as a {type(device).__name__}.")
    return machine(device)
