"""Instructions of a layer on a Cortex-M7, roughly: enough to choose between schedules. `instructions` fits them."""

from __future__ import annotations

from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Network

_CALL = 60  # of a kernel, arguments and set-up
_OUTPUT = 14  # requantization of an accumulator


def estimate(network: Network, layer: Layer, rows: int = 0) -> float:
    """Return the instructions of a layer; `rows`: how many rows it makes one by one, 0 for one call on whole tensors."""
    made = network.values[layer.output]
    share = rows / made.shape[0] if rows else 1.0
    outputs = made.bytes * share
    calls = max(1, rows) * _CALL
    if isinstance(layer, Conv):
        taps = layer.window.kernel[0] * layer.window.kernel[1] * layer.weights.shape[3]
        return outputs * (1.1 * taps + _OUTPUT) + calls
    if isinstance(layer, Depthwise):
        taps = layer.window.kernel[0] * layer.window.kernel[1]
        gathered = 0 if rows else 3 * network.values[layer.inputs[0]].bytes
        return outputs * (1.4 * taps + _OUTPUT) + gathered + calls + 30 * max(1, rows) * made.shape[-1]
    if isinstance(layer, Dense):
        return outputs * (1.3 * layer.weights.shape[1] + _OUTPUT)
    return 12 * share * sum(network.values[value].bytes for value in layer.inputs) + calls
