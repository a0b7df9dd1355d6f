"""What one network costs; every figure says where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from netwright.core.errors import NetwrightError
from netwright.core.metric import TOP_1, Metric

Kind = Literal["measured", "predicted", "bounded", "exact"]


@dataclass(frozen=True)
class Figure:
    """A number and its origin: measured, predicted by a model, bounded (never less than this), or exact by counting.

    `error` is the relative error that the predicting model showed on networks it had not seen (0.03 is 3 %);
    `source` cites what the prediction stands on, or names the meter.
    """

    value: float
    kind: Kind
    error: float | None = None
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return {"value", "kind"} and, where they are known, "error" and "source"."""
        known = {"error": self.error, "source": self.source}
        return {"value": self.value, "kind": self.kind} | {name: it for name, it in known.items() if it is not None}

    @classmethod
    def from_json(cls, values: Any) -> Figure:
        """Read what `to_json` wrote.

        Raises:
            NetwrightError: not such an object.
        """
        try:
            return cls(float(values["value"]), values["kind"], values.get("error"), values.get("source"))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise NetwrightError(f"Not a figure with value and kind: {str(values)[:100]}.") from error


@dataclass(frozen=True)
class Cost:
    """The cost of one network for one image, and how well it does; a figure that nobody asked for is None.

    `score` is a value of `metric`, in its unit.
    """

    macs: int
    params: int
    latency_ms: Figure | None = None
    score: Figure | None = None
    metric: Metric = TOP_1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, unknown figures as null; the score stands under the metric's key."""
        return {
            self.metric.key: self.score.to_json() if self.score else None,
            "latency_ms": self.latency_ms.to_json() if self.latency_ms else None,
            "macs": self.macs,
            "params": self.params,
        }
