"""The data flow of a `Network`, and which results may overwrite an input."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.graph.memory.flow import Flow, FlowStep, FlowValue
from netwright.mcu.layer import Layer, Network


def network_flow(network: Network) -> Flow:
    """Return the flow whose steps are the network's layers and whose values are its values with bytes of their own.

    A value's `storage` is its index in the network. What nobody reads is made all the same.
    """
    roots = [index for index, value in enumerate(network.values) if value.alias < 0]
    maker = {network.root(layer.output): place for place, layer in enumerate(network.layers)}
    users: dict[int, list[int]] = {root: [] for root in roots}
    for place, layer in enumerate(network.layers):
        for root in read(network, layer):
            users[root].append(place)
    given = {network.root(index) for index in network.inputs}
    kept = {network.root(index) for index in network.outputs}
    number: dict[int, int] = {}
    values = []
    for root in roots:
        if root in maker or root in given or users[root]:
            number[root] = len(values)
            value = network.values[root]
            values.append(
                FlowValue(
                    value.name,
                    value.shape,
                    value.dtype,
                    value.bytes,
                    maker.get(root, -1),
                    tuple(users[root]),
                    root in kept,
                    root,
                )
            )
    steps = []
    for place, layer in enumerate(network.layers):
        reads = read(network, layer)
        after = sorted({maker[root] for root in reads if root in maker})
        over = tuple(number[root] for root in layer.in_place(network) if root not in kept)
        touched = tuple(number[root] for root in reads)
        steps.append(FlowStep(place, tuple(after), (number[network.root(layer.output)],), touched, over))
    return Flow(tuple(steps), tuple(values))


def read(network: Network, layer: Layer) -> tuple[int, ...]:
    """Return the values with bytes of their own that a layer reads, each once."""
    return tuple(dict.fromkeys(network.root(index) for index in layer.inputs))


def dies_at(flow: Flow, order: Sequence[int]) -> list[int]:
    """Return for each value the place of the last step that needs it in the order; the last one if it is kept."""
    place = {step: position for position, step in enumerate(order)}
    last = []
    for value in flow.values:
        ends = [place[user] for user in value.users] + [place[value.maker] if value.maker >= 0 else 0]
        last.append(len(order) - 1 if value.kept else max(ends))
    return last
