"""What a deployed network expects and returns, as it is written into the ONNX file and beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from netwright.core.errors import NetwrightError

PREPARATION = (
    "RGB; the short side scaled to `size` pixels and the centre square kept (bicubic, antialiased); "
    "divided by 255, less `mean`, over `std`; float32, batch x 3 x size x size"
)


@dataclass(frozen=True)
class Contract:
    """Input and output of a deployed network.

    Attributes:
        size: height and width of the square input in pixels.
        mean, std: per channel, on the scale 0 to 1.
        classes: of the data set; of a classifier, the meaning of each logit, in order.
        task: its name.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    input_name: str = "images"
    output_name: str = "logits"
    task: str = "classification"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the preparation in words."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {**values, "preparation": PREPARATION}

    def to_metadata(self) -> dict[str, str]:
        """Return the entries of an ONNX file's metadata_props: every value is JSON."""
        return {name: json.dumps(value) for name, value in self.to_json().items()}

    @classmethod
    def from_metadata(cls, entries: dict[str, str]) -> Contract:
        """Read what `to_metadata` wrote.

        Raises:
            NetwrightError: an entry is missing or damaged: the file was not made by `netwright deploy`.
        """
        try:
            task = json.loads(entries["task"]) if "task" in entries else "classification"  # older files name none
            names = ("size", "mean", "std", "classes", "input_name", "output_name")
            size, mean, std, classes, *rest = (json.loads(entries[name]) for name in names)
            return cls(size, tuple(mean), tuple(std), tuple(classes), *rest, task)
        except (KeyError, TypeError, ValueError) as error:
            raise NetwrightError(
                f"The model's metadata lacks a valid {error}: it was not made by `netwright deploy`."
            ) from error
