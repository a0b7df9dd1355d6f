"""How far an integer network is from the network in float that it was made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

DOUBTFUL_DB = 20.0  # below: a warning
ACCEPTED_DB = 10.0  # below: not accepted unless asked for


@dataclass(frozen=True)
class Distance:
    """A tensor of both: its name, and the energy of its float values over that of the difference (SQNR), dB.

    Without a difference it is infinite.
    """

    name: str
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite ratio is null."""
        return {"name": self.name, "sqnr_db": round(self.sqnr_db, 2) if math.isfinite(self.sqnr_db) else None}


@dataclass(frozen=True)
class Comparison:
    """An integer network beside its float source on the same images.

    Attributes:
        images: how many were compared.
        outputs: of the networks, in order.
        agreement: share of the images on which both give the same class first; None where no output is of classes.
        layers: in the order in which they run, where asked for; what a layer falls short of holds all before it.
        source: the network in float.
    """

    images: int
    outputs: tuple[Distance, ...]
    agreement: float | None = None
    layers: tuple[Distance, ...] = ()
    source: str = "the float network"

    @property
    def worst(self) -> Distance:
        """The output that is farthest away."""
        return min(self.outputs, key=lambda one: one.sqnr_db)

    @property
    def steepest(self) -> Distance | None:
        """The layer at which the ratio falls most; None where layers were not compared."""
        falls = [
            (before.sqnr_db - after.sqnr_db, after)
            for before, after in zip(self.layers, self.layers[1:], strict=False)
            if math.isfinite(before.sqnr_db)
        ]
        return max(falls, key=lambda fall: fall[0])[1] if falls else None

    def describe(self) -> str:
        """Return one line: the ratio of every output, and how often both agree."""
        ratios = ", ".join(f"{one.name} {words(one.sqnr_db)}" for one in self.outputs)
        agreed = "" if self.agreement is None else f"; same class first on {self.agreement:.1%}"
        return f"{self.source} on {self.images} images: SQNR {ratios}{agreed}"

    def doubt(self, accepted_db: float = ACCEPTED_DB) -> str | None:
        """Return what is to be said about an output that is far away; None where none is."""
        worst = self.worst
        if worst.sqnr_db >= max(DOUBTFUL_DB, accepted_db):
            return None
        steepest = self.steepest
        at = f"It falls most at {steepest.name}" if steepest else "Compare layer by layer (layers=True, --layers)"
        return (
            f"The integers are far from {self.source}: output {worst.name} has an SQNR of {words(worst.sqnr_db)}; "
            f"{DOUBTFUL_DB:g} dB and more are usual. {at}; try observer mse, equalize or bias_correction, or train with "
            "fake quantization."
        )

    def accepts(self, accepted_db: float = ACCEPTED_DB) -> bool:
        """Whether every output is near enough."""
        return self.worst.sqnr_db >= accepted_db

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "source": self.source,
            "images": self.images,
            "outputs": [one.to_json() for one in self.outputs],
            "agreement": self.agreement,
            "layers": [one.to_json() for one in self.layers],
        }


def words(ratio_db: float) -> str:
    """Return a ratio in words: "31.4 dB"."""
    return f"{ratio_db:.1f} dB" if math.isfinite(ratio_db) else "infinite (equal)" if ratio_db > 0 else "none"
