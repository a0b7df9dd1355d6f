"""Price operations of one's own: rules that are given instead of written into the table.

    def swirl(graph, op):                     # my::swirl(x_BCHW, weight): three products an element
        return products(3 * out_elements(graph, op))

    profile(net, x, rules={"my::swirl": swirl})
    profile(net, x, rules={"my::swirl": Traits("elementwise", each=3, in_place=True)})

A function is a rule (graph, op) -> `Work`, or None where the arguments do not tell. `Traits` also say what the operation
is to memory planning and to training. On the command line: `netwright profile ... --rules FILE.py:NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import load_own
from netwright.cost.rules.torch_rules import FORMULAS
from netwright.cost.rules.work import Rule, Work, rule_of
from netwright.graph.graph import Graph, Op
from netwright.graph.operations.table import known_as, traits_of
from netwright.graph.operations.traits import Traits

# By torch's name of the operation, "my::swirl", or a graph's, "my.swirl"; or FILE.py:NAME of such a dictionary.
OwnRules = Mapping[str, Rule | Traits] | str


def with_rules(graph: Graph, rules: OwnRules | None) -> Graph:
    """Return the graph with traits of one's own; a function prices an operation whose other traits stay.

    Raises:
        NetwrightError: there is no such file or name, a rule is neither a function nor `Traits`, or it names a formula that
            there is not.
    """
    if isinstance(rules, str):
        rules = load_own(rules)
    if rules is None:
        return graph
    if not isinstance(rules, Mapping):
        raise NetwrightError(
            f"The rules are a {type(rules).__name__}; a dictionary of operation to rule is needed: "
            '{"my::op": rule}, where rule(graph, op) returns Work.'
        )
    own = dict(graph.own)
    for name, rule in rules.items():
        kind = known_as(str(name))
        if isinstance(rule, Traits):
            if isinstance(rule.formula, str) and rule.formula and rule.formula not in FORMULAS:
                raise unknown(f"The formula of {name}", rule.formula, sorted(FORMULAS))
            own[kind] = rule
        elif callable(rule):
            own[kind] = replace(traits_of(kind, graph.own), formula=rule)
        else:
            raise NetwrightError(
                f"The rule of {name} is a {type(rule).__name__}; a function (graph, op) -> Work, or Traits, is needed."
            )
    return replace(graph, own=own)


def own_rule(graph: Graph, op: Op) -> Rule | None:
    """Return the rule that a graph has of its own for an operation; None where it has none."""
    found = graph.own.get(op.kind) or graph.own.get(op.kind.rstrip("_"))
    rule = rule_of(found, FORMULAS) if found is not None else None
    return None if rule is None else _guarded(rule)


def _guarded(rule: Rule) -> Rule:
    """Return the rule with its faults told in words that name the operation."""

    def guarded(graph: Graph, op: Op) -> Work | None:
        try:
            work = rule(graph, op)
        except NetwrightError:
            raise
        except Exception as error:
            raise NetwrightError(
                f"The rule of {op.kind} failed at {op.path or 'the root'} with {type(error).__name__}: {error}. "
                f"The operation has the arguments {', '.join(op.arguments)}."
            ) from error
        if work is None or isinstance(work, Work):
            return work
        raise NetwrightError(
            f"The rule of {op.kind} returned a {type(work).__name__}; Work or None is needed, for example "
            'Work("elementwise", macs=0, flops=100).'
        )

    return guarded
