"""Instructions of a layer on a Cortex-M7, roughly: enough to choose between schedules where no fitted model is given.

Depthwise figures are of 24 layers of kernels 3, 5 and 7, 5 to 40 pixels wide, counted under emulation; within 11 %
of each.
"""

from __future__ import annotations

from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Network

_CALL = 60  # of a kernel, arguments and set-up
_OUTPUT = 12  # requantization of an accumulator
_ROW = 150  # of a convolution's row call


def estimate(network: Network, layer: Layer, rows: int = 0) -> float:
    """Return the instructions of a layer; `rows`: how many it makes one by one, 0 for one call on whole tensors."""
    made = network.values[layer.output]
    share = rows / made.shape[0] if rows else 1.0
    outputs = made.bytes * share
    if isinstance(layer, Conv):
        taps = layer.window.kernel[0] * layer.window.kernel[1] * layer.weights.shape[3]
        return outputs * (0.95 * taps + _OUTPUT) + rows * (_ROW + 5 * made.shape[2]) + _CALL
    if isinstance(layer, Depthwise):
        return _depthwise(network, layer, rows, outputs) + _CALL
    if isinstance(layer, Dense):
        return outputs * (1.3 * layer.weights.shape[1] + _OUTPUT)
    return 10 * share * sum(network.values[value].bytes for value in layer.inputs) + max(1, rows) * _CALL


def _depthwise(network: Network, layer: Depthwise, rows: int, outputs: float) -> float:
    """Return the instructions of a depthwise layer: products, gathering of channels, set-up of filters by channel."""
    high, wide = layer.window.kernel
    taps = high * wide
    channels, height = network.values[layer.output].shape[2], network.values[layer.output].shape[0]
    given = network.values[layer.inputs[0]].bytes
    if rows:
        products = 2.2 * taps if high <= 3 else 0.73 * taps + 3.4 * wide
        return outputs * products + (71 if high <= 3 else 89) * high * channels * rows
    if high <= 3:
        return outputs * 2.2 * taps + 4.2 * given + 277 * channels
    return outputs * (1.12 * taps + 0.8 * wide) + 6.3 * given + channels * height * (43 + 29 * high)
