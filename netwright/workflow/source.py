"""Where a run's images come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.data.images import Dataset


@dataclass(frozen=True)
class Source:
    """Where a run's images come from, and how they are read and split.

    Attributes:
        source: what `load_dataset` takes.
        size: height and width of the images in pixels.
        seed: of the splits.
        val_fraction: of the images, for validation, where the source has no validation images.
        search_fraction: of the training images, held out from training: networks are chosen by them, so that the
            validation images, on which the metric is reported, stay unseen.
    """

    source: str
    size: int
    seed: int = 0
    val_fraction: float = 0.1
    search_fraction: float = 0.1

    def __post_init__(self) -> None:
        """Refuse fractions that leave one side without images."""
        for name in ("val_fraction", "search_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise NetwrightError(f"data.{name} must lie between 0 and 1, not {getattr(self, name)}.")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with a source that means the same from every working directory."""
        return {**vars(self), "source": absolute(self.source)}

    def load(self) -> Dataset:
        """Decode the images, or take them from the cache, and say what is left out."""
        from netwright.data.load import load_dataset

        return load_dataset(
            self.source, size=self.size, val_fraction=self.val_fraction, seed=self.seed, cache=self._cache()
        )

    def _cache(self) -> Path | None:
        if self.source == "digits":  # decoded in an instant
            return None
        from netwright.device.store import home

        return home() / "images"


def absolute(source: str) -> str:
    """Return a source that means the same from every working directory."""
    if Path(source).exists():
        return str(Path(source).resolve())
    parts = [part.strip() for part in source.split(",")]
    return ",".join(str(Path(part).resolve()) for part in parts) if all(Path(p).exists() for p in parts) else source
