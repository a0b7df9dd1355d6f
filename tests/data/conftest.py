"""Small class folders and archives, written for each test."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Return a function that makes a PNG of one colour, or of noise."""

    def make(colour: tuple[int, int, int] | None = None, width: int = 12, height: int = 12, seed: int = 0) -> bytes:
        if colour is None:
            image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
        else:
            image = Image.new("RGB", (width, height), colour)
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture
def folders(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., Path]:
    """Return a function that writes `{folder: number of images}` below a new directory."""

    def make(counts: dict[str, int], name: str = "set") -> Path:
        for number, (folder, count) in enumerate(counts.items()):
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                content = png(seed=1000 * number + index)
                (tmp_path / name / folder / f"{index:03}.png").write_bytes(content)
        return tmp_path / name

    return make


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that packs a directory into a zip archive, below a folder inside it."""

    def make(folder: Path, name: str = "set.zip", prefix: str = "") -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, prefix + str(file.relative_to(folder)))
        return tmp_path / name

    return make
