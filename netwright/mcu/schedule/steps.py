"""The steps of a schedule as a table: what runs, how, and how much is alive then."""

from __future__ import annotations

from typing import Any

from netwright.mcu.layer import Network
from netwright.mcu.schedule.schedule import Schedule, ScheduleStep, Whole


def step_table(network: Network, plan: Schedule) -> list[dict[str, Any]]:
    """Return for every layer, in the order in which they run: name, kind, how, output shape, MACs, bytes alive."""
    rows = []
    for number, step in enumerate(plan.steps):
        for index in layers_of(step):
            layer = network.layers[index]
            rows.append(
                {
                    "step": number,
                    "name": layer.name,
                    "kind": layer.type_name,
                    "how": how(step),
                    "shape": list(network.values[layer.output].shape),
                    "macs": layer.macs(network.values),
                    "alive_bytes": plan.alive_bytes[number],
                }
            )
    return rows


def layers_of(step: ScheduleStep) -> tuple[int, ...]:
    """Return the layers that a step runs, as indices."""
    return (step.layer,) if isinstance(step, Whole) else step.layers


def how(step: ScheduleStep) -> str:
    """Return in a word how a step runs."""
    if isinstance(step, Whole):
        return "in place" if step.over >= 0 else "whole"
    return step.how


def peak_words(network: Network, plan: Schedule) -> str:
    """Return which step needs most, by the name of its first layer."""
    if plan.peak < 0:
        return "no step"
    step = plan.steps[plan.peak]
    names = [network.layers[index].name for index in layers_of(step)]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({how(step)})"
