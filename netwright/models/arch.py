"""One point of a search space."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from netwright.core.errors import NetwrightError


@dataclass(frozen=True, order=True)
class Arch:
    """The description of one network: frozen, hashable, JSON-able.

    What the positions of a field mean is the family's: a mobile network has one depth a stage, one
    kernel size and expansion ratio a block, and one width multiplier; a ViT has one depth, one
    embedding width, and heads and MLP ratios a layer. Fields a family does not use stay empty.
    """

    resolution: int
    depths: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    expansions: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()
    heads: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; unused fields are left out."""
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v != ()}

    @classmethod
    def from_json(cls, values: Any) -> Arch:
        """Read what `to_json` wrote.

        Raises:
            NetwrightError: a field is unknown, missing or not a number.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, dict) or "resolution" not in values or set(values) - set(names):
            raise NetwrightError(f"Not an architecture: {str(values)[:200]}. Fields: {', '.join(names)}.")
        fields: dict[str, Any] = {}
        for name, value in values.items():
            numbers = value if isinstance(value, list) else [value]
            if isinstance(value, list) == (name == "resolution") or not all(
                isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
            ):
                raise NetwrightError(f"Architecture field {name!r} holds {str(value)[:100]}, not numbers.")
            fields[name] = tuple(value) if isinstance(value, list) else value
        return cls(**fields)
