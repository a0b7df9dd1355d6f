"""Activations that only clamp join the layer before them, where no one else reads what it makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from netwright.mcu.layer import Network
from netwright.mcu.operators.shared.tables import Lookup

_VALUES = np.arange(-128, 128)


def merge_clamps(network: Network) -> Network:
    """Return a network without tables that are clamps of what one layer makes for them alone.

    The table's value becomes a view of that layer's, whose range is clamped instead.
    """
    values, layers = list(network.values), list(network.layers)
    readers = Counter(network.root(value) for layer in layers for value in layer.inputs)
    readers.update(network.root(value) for value in network.outputs)
    maker = {layer.output: place for place, layer in enumerate(layers)}
    dropped = set()
    for place, layer in enumerate(layers):
        if not isinstance(layer, Lookup):
            continue
        source = network.root(layer.inputs[0])
        low, high = int(layer.table.min()), int(layer.table.max())
        if source not in maker or readers[source] != 1 or not np.array_equal(layer.table, _VALUES.clip(low, high)):
            continue
        clamped = layers[maker[source]].clamped(low, high)
        if clamped is not None:
            layers[maker[source]] = clamped
            made = values[layer.output]
            values[source] = replace(values[source], scale=made.scale, zero_point=made.zero_point)
            values[layer.output] = replace(made, alias=layer.inputs[0])
            # What follows a merged table may join the same layer: its readers are now those of the layer's own value.
            readers[source] = readers[layer.output]
            network = replace(network, values=tuple(values))
            dropped.add(place)
    return replace(network, layers=tuple(layer for place, layer in enumerate(layers) if place not in dropped))
