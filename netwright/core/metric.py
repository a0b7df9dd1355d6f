"""The number that says how well a network does its task: its name, unit and direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from netwright.core.errors import NetwrightError


@dataclass(frozen=True)
class Metric:
    """How well a network does its task, as one number.

    Attributes:
        key: its name in files, such as "accuracy".
        name: its name in texts, such as "top-1 accuracy".
        unit: "%", "dB"; empty where it has none.
        higher_is_better: otherwise lower is.
    """

    key: str
    name: str
    unit: str
    higher_is_better: bool = True

    def text(self, value: float, digits: int = 2) -> str:
        """Write a value with its unit."""
        return f"{value:.{digits}f} {self.unit}".rstrip()

    def score(self, value: float) -> float:
        """Return the value as a number of which higher is better, for searches."""
        return value if self.higher_is_better else -value

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Metric:
        """Read what `to_json` wrote; None, as in files that name no metric, is top-1 accuracy.

        Raises:
            NetwrightError: not such an object.
        """
        if values is None:
            return TOP_1
        wanted = {"key": str, "name": str, "unit": str, "higher_is_better": bool}
        if not isinstance(values, Mapping) or any(not isinstance(values.get(n), kind) for n, kind in wanted.items()):
            raise NetwrightError(f"Not a metric with key, name, unit and higher_is_better: {str(values)[:100]}.")
        return cls(*(values[name] for name in wanted))


TOP_1 = Metric("accuracy", "top-1 accuracy", "%")
