"""Count what the operations of a graph do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from netwright.core.errors import unknown
from netwright.cost.rules import fvcore_convention, torch_rules
from netwright.cost.rules import onnx as rules_onnx
from netwright.cost.rules import tflite as rules_tflite
from netwright.cost.rules.own import OwnRules, own_rule, with_rules
from netwright.cost.rules.work import MOVE, Group, Rule, Work
from netwright.graph.graph import Graph, Op, Pass

Convention = Literal["macs", "flops", "fvcore"]

RULES: dict[str, Rule] = {**torch_rules.RULES, **rules_onnx.RULES, **rules_tflite.RULES}
_SHAPE_FIRST = ("transposed_2d", "transposed_3d")  # TensorFlow Lite's: output shape, weights, input


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A kind of operation that no rule knows: how often it ran, and its share of all elements that operations make."""

    kind: str
    calls: int
    elements: int
    share_of_elements: float


@dataclass(frozen=True)
class Counts:
    """What a graph does, over both stages where it has two; `totals` tells them apart.

    `works`: of each operation, None where nobody priced it. `macs`: multiply-accumulates of convolutions, linear layers, matrix
    products, attention and recurrent layers. `flops`: two for each of those and the operations of everything else.
    `in_convention`: the total in the convention asked for. `macs_by_dtype`: by the type of the data multiplied.
    `at_least`: an operation has no price, or the shape of something is not known, so that MACs and flops are lower bounds.
    """

    works: tuple[Work | None, ...]
    macs: int
    flops: int
    params: int
    convention: Convention
    in_convention: int
    totals: Mapping[tuple[Pass, Group], Work]
    macs_by_dtype: Mapping[str, int]
    unpriced: tuple[Unpriced, ...]
    at_least: bool = False


def work_of(graph: Graph, op: Op) -> Work | None:
    """Return what an operation does; None where no rule knows it."""
    if op.view:
        return MOVE
    rule = own_rule(graph, op) or RULES.get(op.kind) or RULES.get(op.kind.rstrip("_"))
    return rule(graph, op) if rule else None


def count(graph: Graph, convention: Convention = "macs", *, rules: OwnRules | None = None) -> Counts:
    """Count the work of all operations.

    `convention` chooses `in_convention`: "macs"; "flops"; or "fvcore", the number that fvcore's FlopCountAnalysis prints for
    the forward pass: its "flops" are multiply-accumulates, with normalization and resampling added, without fused attention.
    `rules`: prices of operations of one's own, see `netwright.cost.rules.own`.

    Raises:
        NetwrightError: no such convention, or a rule is none, fails, or returns something else than `Work`.
    """
    graph = with_rules(graph, rules)
    if convention not in get_args(Convention):
        raise unknown("The convention", convention, get_args(Convention))
    works = tuple(work_of(graph, op) for op in graph.ops)
    sums: dict[tuple[Pass, Group], list[int]] = defaultdict(lambda: [0, 0])
    by_dtype: dict[str, int] = defaultdict(int)
    for op, work in zip(graph.ops, works, strict=True):
        if work is None:
            continue
        total = sums[op.stage, work.group]
        total[0] += work.macs
        total[1] += work.flops
        if work.macs:
            data = op.inputs[2 if graph.traits(op).formula in _SHAPE_FIRST else 0]
            by_dtype[graph.tensors[data].dtype] += work.macs
    unpriced = _unpriced(graph, works)
    macs, flops = (sum(total[place] for total in sums.values()) for place in (0, 1))
    in_convention = {
        "macs": lambda: macs,
        "flops": lambda: flops,
        "fvcore": lambda: fvcore_convention.total(graph, works),
    }
    return Counts(
        works=works,
        macs=macs,
        flops=flops,
        params=graph.params,
        convention=convention,
        in_convention=in_convention[convention](),
        totals={key: Work(key[1], *total) for key, total in sums.items()},
        macs_by_dtype=dict(by_dtype),
        unpriced=unpriced,
        at_least=bool(unpriced or graph.without_shape),
    )


def _unpriced(graph: Graph, works: tuple[Work | None, ...]) -> tuple[Unpriced, ...]:
    calls: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    everything = 0
    for op, work in zip(graph.ops, works, strict=True):
        elements = 0 if op.view else sum(graph.tensors[index].elements for index in op.outputs)
        everything += elements
        if work is None:
            calls[op.kind][0] += 1
            calls[op.kind][1] += elements
    found = (Unpriced(kind, times, n, n / everything if everything else 0.0) for kind, (times, n) in calls.items())
    return tuple(sorted(found, key=lambda one: -one.elements))
