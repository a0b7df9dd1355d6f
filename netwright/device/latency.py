"""The latency model of one runtime on one device: an offset plus a time for every block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json, write_json
from netwright.device.features import block_key, features
from netwright.device.timing import doubt
from netwright.models.family import PlacedBlock
from netwright.nn.block import Block, Shape

SCHEMA = 1
KIND = "latency-model"
PricedBlocks = Sequence[PlacedBlock]


@dataclass(frozen=True)
class LatencyModel:
    """Predicts milliseconds of batch 1 as `offset_ms` plus one value a block, so that search can tabulate it.

    `device` is the CPU's name, `runtime` the runtime's name and `runtime_version` what ran; `blocks_ms` are the
    blocks that were timed (keys of `block_key`), `rates_ms` price all others, milliseconds for one of each feature.
    `held_out` says how predictions met networks used neither to fit nor to choose the model: networks, mape and
    within_10pct in percent, kendall_tau; `noise_floor` the same between two halves of the timings of those networks.
    `measured` says what was done: date, networks, blocks, seconds, environment; `held_out_ms` in it holds a pair
    (predicted, measured) for each held-out network.
    """

    device: str
    runtime: str
    runtime_version: str
    threads: int
    space: str
    offset_ms: float
    blocks_ms: Mapping[str, float]
    rates_ms: Mapping[str, float]
    held_out: Mapping[str, float]
    noise_floor: Mapping[str, float]
    measured: Mapping[str, Any] = field(default_factory=dict)

    def block_ms(self, block: Block, *in_shapes: Shape) -> float:
        """Return the milliseconds of one block inside a network; a block that was never timed is priced by what it does."""
        known = self.blocks_ms.get(block_key(block, *in_shapes))
        if known is not None:
            return known
        return sum(self.rates_ms.get(name, 0.0) * value for name, value in features(block, *in_shapes).items())

    def predict(self, priced_blocks: PricedBlocks) -> float:
        """Return the milliseconds of a network given as `Family.priced_blocks` gives it."""
        return self.offset_ms + sum(self.block_ms(*placed.key) for placed in priced_blocks)

    def unmeasured(self, priced_blocks: PricedBlocks) -> float:
        """Return the share of the predicted time (0 to 1) that is of blocks never timed."""
        guessed = sum(
            self.block_ms(*placed.key) for placed in priced_blocks if block_key(*placed.key) not in self.blocks_ms
        )
        return guessed / max(self.predict(priced_blocks), 1e-12)

    @property
    def reference_ms(self) -> float | None:
        """What the reference program of the timings took at least; None in older files."""
        return self._told("reference_ms")

    @property
    def doubt(self) -> str | None:
        """Why the timings that this model stands on may be too high, None where nothing speaks against them."""
        return doubt(self._told("calm"), self._told("unsettled"), self.noise_floor["mape"] / 100)

    def _told(self, name: str) -> float | None:
        found = self.measured.get(name)
        return float(found) if found is not None and _finite(found) else None

    def summary(self) -> dict[str, Any]:
        """Return what `netwright device --measure --json` prints.

        `mape` and `noise_floor` are comparable: mean absolute errors in percent, of the model and of measuring twice.
        `busy`: why the timings are doubtful, null where they are not.
        """
        names = ("networks", "mape", "within_10pct", "kendall_tau")
        return {
            "device": self.device,
            "runtime": self.runtime,
            **{name: self.held_out[name] for name in names},
            "noise_floor": self.noise_floor["mape"],
            "noise": {name: self.noise_floor[name] for name in names[1:]},
            "calm": self._told("calm"),
            "unsettled": self._told("unsettled"),
            "busy": self.doubt,
        }

    def save(self, path: str | Path) -> None:
        """Write the model as JSON, atomically."""
        values = {name: getattr(self, name) for name in _FIELDS}
        write_json(Path(path), {"schema": SCHEMA, "kind": KIND} | values)

    @classmethod
    def load(cls, path: str | Path) -> LatencyModel:
        """Read what `save` wrote.

        Raises:
            NetwrightError: the file is missing, damaged, or of another schema.
        """
        values = read_json(Path(path))
        if not isinstance(values, dict) or values.pop("kind", None) != KIND:
            raise NetwrightError(f"{path} is not a latency model. Make one with `netwright device this --measure`.")
        version = values.pop("schema", None)
        if version != SCHEMA:
            raise NetwrightError(
                f"{path} was written under schema {version}; this netwright reads schema {SCHEMA}. Measure again."
            )
        problem = _problem(values)
        if problem:
            raise NetwrightError(f"{path} is damaged: {problem}. Measure again with `netwright device this --measure`.")
        return cls(**values)


_TEXTS = ("device", "runtime", "runtime_version", "space")
_NUMBERS = ("threads", "offset_ms")
_TABLES = ("blocks_ms", "rates_ms", "held_out", "noise_floor")
_FIELDS = (*_TEXTS, *_NUMBERS, *_TABLES, "measured")
_FIGURES = {"networks", "mape", "within_10pct", "kendall_tau"}


def _problem(values: dict[str, Any]) -> str | None:
    """Say what is wrong with the fields of a file, or return None."""
    if set(values) != set(_FIELDS):
        return f"its fields are not {', '.join(_FIELDS)}"
    for name in _TEXTS:
        if not isinstance(values[name], str):
            return f"{name} is not a text"
    for name in _NUMBERS:
        if not _finite(values[name]):
            return f"{name} is not a number"
    for name in _TABLES:
        if not isinstance(values[name], dict) or not all(_finite(value) for value in values[name].values()):
            return f"{name} does not hold numbers"
    for name in ("blocks_ms", "rates_ms"):
        if any(value < 0 for value in values[name].values()):
            return f"{name} holds a negative time"
    figures = ("held_out", "noise_floor")
    if not isinstance(values["measured"], dict) or any(not set(values[name]) >= _FIGURES for name in figures):
        return "measured, held_out or noise_floor is not complete"
    pairs = values["measured"].get("held_out_ms", [])
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return "held_out_ms does not hold pairs"
    if not all(_finite(value) for pair in pairs for value in pair):
        return "held_out_ms does not hold numbers"
    return None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
