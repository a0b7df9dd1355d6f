"""Datasets by name: scikit-learn's digits, torchvision's classification datasets, Hugging Face directories."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netwright.core.errors import NetwrightError, unknown
from netwright.data.files import open_tree
from netwright.data.items import Items

_EXTRA: dict[str, dict[str, Any]] = {"EMNIST": {"split": "balanced"}}  # what a dataset cannot do without
_VAL = ("val", "valid", "validation", "test")  # the first that is there is used


def list_digits() -> Items:
    """List scikit-learn's 1,797 handwritten digits of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    grey_NP, labels_N = load_digits(return_X_y=True)
    grey_N88 = np.round(np.asarray(grey_NP).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Items(
        name="digits",
        classes=tuple(str(number) for number in range(10)),
        names=[f"digit {position}" for position in range(len(grey_N88))],
        open=lambda position: (Image.fromarray(grey_N88[position]), int(labels_N[position])),
        fingerprint="digits",
    )


def list_torchvision(source: str, download: bool) -> Items:
    """List "torchvision:NAME" or "torchvision:NAME:ROOT" (ROOT is "data" by default).

    Raises:
        NetwrightError: not a name of torchvision, not at ROOT, or not a classification dataset.
    """
    from torchvision import datasets

    _, name, root = (*source.split(":", 2), "data")[:3]
    kinds = [kind for kind in datasets.__all__ if isinstance(getattr(datasets, kind), type)]
    if name not in kinds:
        raise unknown("torchvision dataset", name, kinds)
    parts = _torchvision_parts(getattr(datasets, name), name, root, download)
    with contextlib.ExitStack() as stack:
        stamps = open_tree(Path(root), stack).stamps if Path(root).is_dir() else {}
    digest = hashlib.sha256(repr((source, [len(part) for part in parts], sorted(stamps.items()))).encode())
    return _joined(name, parts, _torchvision_classes(parts), digest.hexdigest())


def _torchvision_parts(kind: Any, name: str, root: str, download: bool) -> list[Any]:
    accepted = inspect.signature(kind).parameters
    settings: dict[str, Any] = {**({"root": root} if "root" in accepted else {}), **_EXTRA.get(name, {})}
    if "download" in accepted or name in _EXTRA:
        settings["download"] = download
    try:
        if "train" in accepted or name in _EXTRA:
            return [kind(**settings, train=True), kind(**settings, train=False)]
        if "split" not in accepted:
            return [kind(**settings)]
        default = accepted["split"].default
        train = kind(**settings, split="train" if default is inspect.Parameter.empty else default)
        return [train, *_first_val(kind, settings)]
    except NetwrightError:
        raise
    except Exception as error:  # each dataset has its own exceptions for what is missing
        text = " ".join(str(error).split())
        next_step = "" if download else " To fetch it, pass download=True; to say where it is, torchvision:NAME:ROOT."
        raise NetwrightError(f"torchvision's {name} cannot be opened at {Path(root)}: {text}.{next_step}") from error


def _first_val(kind: Any, settings: dict[str, Any]) -> list[Any]:
    for split in _VAL:
        with contextlib.suppress(ValueError):  # how torchvision refuses the name of a split
            return [kind(**settings, split=split)]
    return []


def _torchvision_classes(parts: Sequence[Any]) -> tuple[str, ...]:
    for field in ("classes", "categories"):
        if names := getattr(parts[0], field, None):
            return tuple(name if isinstance(name, str) else str(name[0]) for name in names)  # ImageNet lists synonyms
    known = [getattr(parts[0], field, None) for field in ("targets", "labels", "_labels")]
    labels = next((found for found in known if found is not None), None)
    if labels is None:
        labels = [label for _, label in parts[0]]
    if not all(hasattr(label, "__index__") for label in labels):
        raise NetwrightError(f"torchvision's {type(parts[0]).__name__} is not a classification dataset.")
    return tuple(str(number) for number in range(max(map(operator.index, labels)) + 1))


def list_hugging_face(path: Path) -> Items:
    """List a directory written by `save_to_disk` of the Hugging Face `datasets` package.

    Raises:
        NetwrightError: `datasets` is not installed, or there is no column of images and one of class labels.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise NetwrightError(
            f"{path} is a Hugging Face dataset; reading it needs the package `datasets`: pip install datasets."
        ) from None
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetwrightError(f"{path} is not a readable Hugging Face dataset: {error}") from error
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    if "train" not in splits:
        raise NetwrightError(f"{path} has no split named train. It has: {', '.join(splits)}.")
    chosen = [splits["train"], *[splits[name] for name in _VAL if name in splits][:1]]
    features = chosen[0].features
    image = next((name for name, feature in features.items() if isinstance(feature, datasets.Image)), None)
    label = next((name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)), None)
    if image is None or label is None:
        raise NetwrightError(
            f"{path} needs a column of type Image and one of type ClassLabel. It has: "
            f"{', '.join(f'{name} ({type(feature).__name__})' for name, feature in features.items())}."
        )
    parts = [_Rows(part.cast_column(image, datasets.Image(decode=False)), image, label) for part in chosen]
    prints = hashlib.sha256(repr([part._fingerprint for part in chosen]).encode())
    return _joined(path.absolute().name, parts, tuple(features[label].names), prints.hexdigest())


class _Rows:
    """A Hugging Face table as pairs of image bytes and label."""

    def __init__(self, table: Any, image: str, label: str):
        self._table, self._image, self._label = table, image, label

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, position: int) -> tuple[bytes, int]:
        row = self._table[position]
        stored = row[self._image]
        content = stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()
        return content, row[self._label]


def is_hugging_face(path: Path) -> bool:
    """Whether a directory was written by `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _joined(name: str, parts: Sequence[Any], classes: tuple[str, ...], fingerprint: str) -> Items:
    train_count = len(parts[0])

    def read(position: int) -> tuple[Any, int]:
        part, place = (parts[0], position) if position < train_count else (parts[1], position - train_count)
        image, label = part[place]
        if not isinstance(image, bytes | Image.Image) or not hasattr(label, "__index__"):
            raise TypeError(f"not an image with a class, but {type(image).__name__} with {type(label).__name__}")
        number = operator.index(label)
        if not 0 <= number < len(classes):
            raise ValueError(f"label {number} is not one of {len(classes)} classes")
        return image, number

    which = ("train", "val")
    names = [f"image {place} of {which[number]}" for number, part in enumerate(parts) for place in range(len(part))]
    return Items(name, classes, names, read, fingerprint, train_count if len(parts) == 2 else None)
