"""The C of one layer on whole tensors: which emitter speaks for which kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.mcu.emit import conv as emit_conv
from netwright.mcu.emit import simple as emit_simple
from netwright.mcu.emit.code import Data
from netwright.mcu.network import Conv, Dense, Depthwise, Layer, Network


@dataclass(frozen=True)
class Place:
    """Where a layer finds what it needs: C expressions of type int8_t * by value, and of its scratch ("0": none)."""

    pointers: Mapping[int, str]
    scratch: str


def layer_data(network: Network, layer: Layer, name: str) -> Data:
    """Return the definitions of a layer's constants, named `name`_..."""
    if isinstance(layer, Conv | Depthwise | Dense):
        return emit_conv.data(network, layer, name)
    assert isinstance(layer, emit_simple.Simple)
    return emit_simple.data(network, layer, name)


def layer_scratch(layer: Layer, network: Network) -> int:
    """Return the bytes that a layer's kernel needs besides its tensors."""
    return emit_conv.scratch_bytes(layer, network) if isinstance(layer, Conv | Depthwise | Dense) else 0


def layer_call(network: Network, layer: Layer, name: str, place: Place) -> str:
    """Return the C statement that computes a layer."""
    inputs = [place.pointers[network.root(value)] for value in layer.inputs]
    out = place.pointers[network.root(layer.output)]
    if isinstance(layer, Depthwise):
        _, width, channels = network.values[layer.output].shape
        return emit_conv.depthwise_call(layer, network, name, inputs[0], out, place.scratch, width * channels)
    if isinstance(layer, Dense):
        return emit_conv.dense_call(layer, network, name, inputs[0], out)
    if isinstance(layer, Conv):
        if layer.pointwise:
            height, width, _ = network.values[layer.output].shape
            return emit_conv.pointwise_call(layer, network, name, inputs[0], out, str(height * width))
        return emit_conv.conv_call(layer, network, name, inputs[0], out)
    assert isinstance(layer, emit_simple.Simple)
    return emit_simple.simple_call(layer, network, name, inputs, out)
