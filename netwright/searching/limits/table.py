"""Every limit by name: what `Budget`, `search --limit`, reports, JSON and messages read. Loads no torch.

A limit is one file of this folder with a `LimitKind`, and one row here. One of a user's own is given as FILE.py:NAME.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import OWN, Table, is_own
from netwright.searching.limits.kind import LimitKind

LIMITS: Table[LimitKind] = Table(
    "Limit",
    {
        "latency": "netwright.searching.limits.latency:LATENCY",
        "macs": "netwright.searching.limits.counts:MACS",
        "params": "netwright.searching.limits.counts:PARAMS",
        "sram": "netwright.searching.limits.mcu:SRAM",
        "flash": "netwright.searching.limits.mcu:FLASH",
        "instructions": "netwright.searching.limits.mcu:INSTRUCTIONS",
        "peak_memory": "netwright.searching.limits.memory:PEAK_MEMORY",
        "training_memory": "netwright.searching.limits.memory:TRAINING_MEMORY",
        "energy": "netwright.searching.limits.energy:ENERGY",
    },
    kind="netwright.searching.limits.kind:LimitKind",
)


def limit_keys() -> dict[str, LimitKind]:
    """Return every limit of the table by its key in `Budget` and JSON, in order."""
    return {kind.key: kind for kind in LIMITS.values()}


def find_limit(given: str | LimitKind) -> LimitKind:
    """Return a limit by its name, its key, FILE.py:NAME, or as it was given; settings may follow the first two after `@`.

    Raises:
        NetwrightError: there is none, or it does not take these settings.
    """
    if isinstance(given, LimitKind):
        return _own(given)
    if is_own(given):
        return _own(LIMITS.find(given))
    name, at, settings = given.partition("@")
    keys = limit_keys()
    found = LIMITS[name] if name in LIMITS else keys.get(name)
    if found is None:
        raise unknown("Limit", name, (*LIMITS, OWN))
    return found.with_settings(settings) if at else found


def _own(kind: LimitKind) -> LimitKind:
    """Refuse a user's limit that takes the place of one of the table."""
    known = limit_keys().get(kind.key.partition("@")[0])
    if known is not None and kind.table is not known.table:
        raise NetwrightError(
            f"Limit {kind.name!r} has the key {kind.key!r}, which netwright's own {known.name!r} has. Give it another."
        )
    return kind


def parse_limit(text: str, flag: str = "--limit") -> tuple[LimitKind, float]:
    """Read a limit written as NAME=VALUE: sram=128KB, energy=2mJ, training_memory@bias:8=30MB, FILE.py:NAME=VALUE.

    Raises:
        NetwrightError: no `=`, an unknown name, or not a number with a unit.
    """
    name, equals, value = text.rpartition("=")
    if not equals:
        raise NetwrightError(f"{flag} {text!r} must look like NAME=VALUE, for example {flag} sram=128KB.")
    kind = find_limit(name.strip())
    return kind, kind.parse(value.strip(), f"{flag} {name.strip()}")


def budget_text(budget: Mapping[str, Any]) -> str:
    """Return the limits of a budget, as its JSON has them, in few words: 2 ms, 20 M MACs."""
    parts = [kind.short_text(budget[key]) if kind else f"{budget[key]:.4g} {key}" for key, kind in _known(budget)]
    return ", ".join(parts) or "no limit"


def budget_options(budget: Mapping[str, Any]) -> list[str]:
    """Return the options of `netwright search` that give a budget, as its JSON has it; limits of a user's own are left out."""
    options = []
    for key, kind in _known(budget):
        if kind is not None:
            value = f"{budget[key]:g}{kind.typed}"
            options += [f"--{kind.name}", value] if kind.name in SHORT else ["--limit", f"{kind.name}={value}"]
    return options


SHORT = ("latency", "macs", "params")  # have an option of their own


def budget_name(budget: Mapping[str, Any]) -> str:
    """Return a file name for a budget: 2-ms_20-M-MACs."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", budget_text(budget).replace(", ", "_"))


def exceeded(budget: Mapping[str, Any], found: Mapping[str, float | None]) -> dict[str, float]:
    """Return the limits of a budget, as its JSON has it, that figures by the same keys are above."""
    rounding = 1 + 1e-9
    return {
        key: bound for key, bound in budget.items() if bound and (value := found.get(key)) and value > bound * rounding
    }


def exceeded_text(limits: Mapping[str, float]) -> str:
    """Return what `exceeded` found in few words: "over 2 ms"; empty where nothing is exceeded."""
    return f"over {budget_text(limits)}" if limits else ""


def _known(budget: Mapping[str, Any]) -> list[tuple[str, LimitKind | None]]:
    """Return the keys of a budget that have values, in the table's order, with their limits; None for a user's own."""
    order = list(limit_keys())
    given = [key for key in budget if budget[key]]
    ours = [key for key in given if key.partition("@")[0] in order]
    ours.sort(key=lambda key: order.index(key.partition("@")[0]))
    return [(key, _read(key)) for key in ours] + [(key, None) for key in given if key not in ours]


def _read(key: str) -> LimitKind | None:
    """Return the limit of a key from a file; None where its settings are none that it takes."""
    try:
        return find_limit(key)
    except NetwrightError:
        return None
