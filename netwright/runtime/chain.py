"""The ONNX model of a network, put together from the models of its blocks.

Spaces share blocks between networks: exporting every block once and joining the graphs takes a few milliseconds a
network, where exporting the network takes some hundred.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import onnx

from netwright.nn.wiring import Wiring


def chain_onnx(parts: Sequence[onnx.ModelProto], wiring: Wiring | None = None) -> onnx.ModelProto:
    """Join models of one output, the output of each feeding the next; weights are copied, not shared.

    With `wiring`, the parts are its turns in order, and each is fed by what its turn reads. All parts must come from the
    same exporter and operator set, and their nodes hold no subgraphs.
    """
    whole = onnx.ModelProto()
    whole.ir_version = parts[0].ir_version
    whole.opset_import.extend(parts[0].opset_import)
    whole.graph.name = "chain"
    append = [functools.partial(_append, whole.graph, part.graph, f"{at}/") for at, part in enumerate(parts)]
    if wiring is None:
        whole.graph.input.extend(parts[0].graph.input)
        joint = append[0](*(value.name for value in parts[0].graph.input))
        for one in append[1:]:
            joint = one(joint)
    else:
        for name in wiring.inputs:
            whole.graph.input.append(_first_reader(parts, wiring, name))
            whole.graph.input[-1].name = name
        names = [turn.name for turn in wiring.turns]
        joint = wiring.run(dict(zip(names, append, strict=True)), *wiring.inputs)
    whole.graph.output.append(parts[-1].graph.output[0])
    whole.graph.output[0].name = joint
    return whole


def _first_reader(parts: Sequence[onnx.ModelProto], wiring: Wiring, name: str) -> onnx.ValueInfoProto:
    """Return the input of the first part that reads a value: it has the value's type and shape."""
    part, turn = next(pair for pair in zip(parts, wiring.turns, strict=True) if name in pair[1].reads)
    return part.graph.input[turn.reads.index(name)]


def _append(graph: onnx.GraphProto, part: onnx.GraphProto, prefix: str, *joints: str) -> str:
    """Append the nodes and weights of `part`, fed by the values `joints`; return the name of its output."""
    names = {"": ""}  # an empty name marks an input that is left out
    names.update((value.name, joint) for value, joint in zip(part.input, joints, strict=True))
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
