"""What one operation does, and how rules that price operations are written.

A rule is a function of a graph and one of its operations. It returns None where the arguments do not say how much is
done, for example with sequence lengths that are values of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from netwright.graph.graph import Graph, Op, Ref, Tensor

Group = Literal["matmul", "norm", "elementwise", "move"]


@dataclass(frozen=True, slots=True)
class Work:
    """What one operation does.

    `group`: "matmul" are convolutions, linear layers, matrix products, attention and recurrent layers; "norm"
    normalization, pooling, resampling and reductions; "elementwise" everything else that computes; "move" what only copies,
    gathers or fills. Views do nothing and are moves of nothing.
    `macs`: multiply-accumulates of the products. `flops`: two for each of those, and one for each arithmetic step of the
    rest; a bias adds none, since n products and a bias are n additions.
    """

    group: Group
    macs: int
    flops: int


Rule = Callable[[Graph, Op], Work | None]
MOVE = Work("move", 0, 0)


def products(macs: int, flops: int = 0) -> Work:
    """Return the work of products, and of `flops` operations around them (a softmax, gates)."""
    return Work("matmul", macs, 2 * macs + flops)


def argument(graph: Graph, op: Op, name: str) -> Tensor | None:
    """Return the tensor that an operation was given under a name; None where it was given none."""
    value = op.arguments.get(name)
    return graph.tensors[value.tensor] if isinstance(value, Ref) else None


def shape(graph: Graph, op: Op, name: str) -> tuple[int, ...]:
    """Return the shape of a tensor argument; an argument that is missing is an error of the rule."""
    value = op.arguments[name]
    if not isinstance(value, Ref):
        raise TypeError(f"{op.kind}: argument {name} is {value!r}, not a tensor")
    return graph.tensors[value.tensor].shape


def refs(value: Any) -> Iterator[int]:
    """Yield the tensors in an argument that may be a list of tensors."""
    if isinstance(value, Ref):
        yield value.tensor
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from refs(part)


def out_elements(graph: Graph, op: Op) -> int:
    """Return the number of elements of the first output; 0 without one."""
    return graph.tensors[op.outputs[0]].elements if op.outputs else 0


def in_elements(graph: Graph, op: Op) -> int:
    """Return the number of elements of the first tensor argument; 0 without one."""
    return graph.tensors[op.inputs[0]].elements if op.inputs else 0


def per_output(group: Group, each: int) -> Rule:
    """Return a rule of `each` operations for every element of the first output."""
    return lambda graph, op: Work(group, 0, each * out_elements(graph, op))


def per_input(group: Group, each: int) -> Rule:
    """Return a rule of `each` operations for every element of the first input."""
    return lambda graph, op: Work(group, 0, each * in_elements(graph, op))
