"""The training methods that come with netwright, by the name a recipe gives them."""

from __future__ import annotations

from typing import Any

from netwright.core.tables import Table

METHODS: Table[Any] = Table(
    "Method",
    {
        "progressive": "netwright.training.methods.progressive:PROGRESSIVE",
        "sandwich": "netwright.training.methods.sandwich:SANDWICH",
        "random": "netwright.training.methods.random_sampling:RANDOM",
        "static": "netwright.training.methods.static:STATIC",
    },
    "netwright.training.method:Method",
)
