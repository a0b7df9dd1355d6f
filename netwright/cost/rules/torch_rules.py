"""Prices of every operation that torch dispatches, its own and torchvision's, by kind."""

from __future__ import annotations

from netwright.cost.rules import aten_products, aten_special, torchvision
from netwright.cost.rules.work import Rule, rules_of
from netwright.graph.operations import aten, others

FORMULAS: dict[str, Rule] = {**aten_special.FORMULAS, **aten_products.FORMULAS, **torchvision.FORMULAS}
RULES: dict[str, Rule] = rules_of({**aten.TRAITS, **others.TRAITS}, FORMULAS)
