"""What a source of images offers before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Items:
    """The images of one source, listed but not read.

    Attributes:
        names: one an image, for messages.
        open: from a position to the image (a file's bytes, or a PIL image) and its label; called from several threads.
        fingerprint: changes when the images may have changed.
        train_count: the first so many are for training, the others for validation; None: to be split by seed.
        left_out: listed but not offered, as "file: reason".
    """

    name: str
    classes: tuple[str, ...]
    names: Sequence[str]
    open: Callable[[int], tuple[bytes | Image.Image, int]]
    fingerprint: str
    train_count: int | None = None
    left_out: tuple[str, ...] = ()
