"""What a deployed network expects and returns, as it is written into the ONNX file and beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.data.preparation import Preparation


@dataclass(frozen=True)
class Contract:
    """Input and output of a deployed network.

    Attributes:
        preparation: from an image file to the input.
        classes: of the data set; of a classifier, the meaning of each logit, in order.
        task: its name.
    """

    preparation: Preparation
    classes: tuple[str, ...]
    input_name: str = "images"
    output_name: str = "logits"
    task: str = "classification"

    @property
    def size(self) -> int:
        """Height and width of the square input in pixels."""
        return self.preparation.size

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, on the scale 0 to 1."""
        return self.preparation.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, on the scale 0 to 1."""
        return self.preparation.std

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the preparation field by field, and in words as "preparation"."""
        values = {"classes": list(self.classes), "input_name": self.input_name, "output_name": self.output_name}
        values |= {"task": self.task, "size": self.size, "preparation": self.preparation.words()}
        return {**values, **self.preparation.to_json()}

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
            values = {name: json.loads(entries[name]) for name in names}
            square = {"height": values["size"], "width": values["size"]}  # all that older files say
            told = {name: json.loads(entries[name]) for name in Preparation.__dataclass_fields__ if name in entries}
            preparation = Preparation.from_json({**square, **told})
            return cls(preparation, tuple(values["classes"]), values["input_name"], values["output_name"], task)
        except (KeyError, TypeError, ValueError) as error:
            raise NetwrightError(
                f"The model's metadata lacks a valid {error}: it was not made by `netwright deploy`."
            ) from error
