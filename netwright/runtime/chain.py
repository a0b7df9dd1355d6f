"""The ONNX model of a chain of blocks, put together from the models of the blocks.

A network is a chain of blocks, and spaces share blocks between networks: exporting every block once and joining the
graphs takes a few milliseconds a network, where exporting the network takes some hundred.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx


def chain_onnx(parts: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Join models of one input and one output, the output of each feeding the next; weights are copied, not shared.

    All parts must come from the same exporter and operator set, and their nodes hold no subgraphs.
    """
    chain = onnx.ModelProto()
    chain.ir_version = parts[0].ir_version
    chain.opset_import.extend(parts[0].opset_import)
    chain.graph.name = "chain"
    chain.graph.input.append(parts[0].graph.input[0])
    joint = parts[0].graph.input[0].name
    for number, part in enumerate(parts):
        joint = _append(chain.graph, part.graph, joint, f"{number}/")
    chain.graph.output.append(parts[-1].graph.output[0])
    chain.graph.output[0].name = joint
    return chain


def _append(graph: onnx.GraphProto, part: onnx.GraphProto, joint: str, prefix: str) -> str:
    """Append the nodes and weights of `part`, fed by the value `joint`; return the name of its output."""
    names = {"": "", part.input[0].name: joint}  # an empty name marks an input that is left out
    for weight in part.initializer:
        names[weight.name] = prefix + weight.name
        graph.initializer.append(weight)
        graph.initializer[-1].name = prefix + weight.name
    for source in part.node:
        node = graph.node.add()
        node.CopyFrom(source)
        node.name = prefix + source.name
        node.input[:] = [names.setdefault(name, prefix + name) for name in source.input]
        node.output[:] = [names.setdefault(name, prefix + name) for name in source.output]
    return names[part.output[0].name]
