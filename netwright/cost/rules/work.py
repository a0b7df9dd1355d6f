"""What one operation does, and how rules that price operations are written.

A rule is a function of a graph and one of its operations. It returns None where the arguments do not say how much is
done, for example with sequence lengths that are values of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netwright.graph.graph import Graph, Op, Ref, Tensor
from netwright.graph.operations.traits import Group, Traits


@dataclass(frozen=True, slots=True)
class Work:
    """What one operation does.

    `group`: as in `Traits`; views do nothing and are moves of nothing.
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


def rule_of(traits: Traits, formulas: Mapping[str, Rule]) -> Rule | None:
    """Return the rule that prices operations of these traits; None where they have no price."""
    if not isinstance(traits.formula, str):
        return traits.formula
    if traits.formula:
        return formulas[traits.formula]
    if traits.group is None:
        return None
    if traits.group == "move":
        return _nothing
    return (per_input if traits.per == "input" else per_output)(traits.group, traits.each)


def rules_of(table: Mapping[str, Traits], formulas: Mapping[str, Rule]) -> dict[str, Rule]:
    """Return the rules of all operations of a table that have a price, by kind."""
    return {kind: rule for kind, traits in table.items() if (rule := rule_of(traits, formulas)) is not None}


def _nothing(_graph: Graph, _op: Op) -> Work:
    return MOVE
