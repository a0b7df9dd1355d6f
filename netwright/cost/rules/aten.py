"""Prices of every operation that torch dispatches, by name; an in-place operation has the name without underscore."""

from __future__ import annotations

from netwright.cost.rules import aten_others, aten_products
from netwright.cost.rules.work import Rule

RULES: dict[str, Rule] = {**aten_others.RULES, **aten_products.RULES}
