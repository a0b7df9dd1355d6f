"""The cache: used when nothing changed, rebuilt when it is damaged or the source changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netwright.data import Dataset, load_dataset
from netwright.data import cache as cache_module
from netwright.data.decode import Decoded
from netwright.data.items import Items

Make = Callable[..., Path]


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of sizes that were really decoded."""
    calls: list[int] = []
    real = cache_module.decode_all

    def counted(items: Items, size: int) -> Decoded:
        calls.append(size)
        return real(items, size)

    monkeypatch.setattr(cache_module, "decode_all", counted)
    return calls


def equal(one: Dataset, other: Dataset) -> bool:
    return (
        torch.equal(one.train.images_NCHW, other.train.images_NCHW)
        and torch.equal(one.val.images_NCHW, other.val.images_NCHW)
        and torch.equal(one.train.labels_N, other.train.labels_N)
        and torch.equal(one.val.labels_N, other.val.labels_N)
        and (one.mean, one.std, one.skipped) == (other.mean, other.std, other.skipped)
    )


@pytest.fixture
def source(folders: Make) -> Path:
    folder = folders({"cat": 10, "dog": 12})
    (folder / "dog" / "003.png").write_bytes(b"damaged")
    return folder


def test_a_second_load_decodes_nothing(source: Path, tmp_path: Path, decodings: list[int]) -> None:
    plain = load_dataset(str(source), size=12)
    for _ in range(3):  # the training images are rearranged in place: that must not reach the file
        assert equal(load_dataset(str(source), size=12, cache=tmp_path / "cache"), plain)
    assert decodings == [12]
    other = load_dataset(str(source), size=12, seed=1, cache=tmp_path / "cache")
    assert equal(other, load_dataset(str(source), size=12, seed=1))
    assert decodings == [12]
    load_dataset(str(source), size=8, cache=tmp_path / "cache")
    assert decodings == [12, 8]
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".json", ".json", ".npy", ".npy"]


def test_a_changed_source_is_decoded_again(
    source: Path, tmp_path: Path, decodings: list[int], png: Callable[..., bytes]
) -> None:
    def load() -> Dataset:
        return load_dataset(str(source), size=12, cache=tmp_path / "cache")

    load()
    (source / "cat" / "000.png").write_bytes(png((9, 9, 9)))
    assert equal(load(), load_dataset(str(source), size=12))
    file = source / "cat" / "001.png"
    os.utime(file, ns=(1, 1))
    load()
    file.rename(source / "dog" / "001b.png")
    assert len(load().classes) == 2
    assert len(decodings) == 4


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize(
    "damage",
    [
        cut,
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"garbage" * 99),
        lambda file: file.write_text("{}"),
        lambda file: file.write_text("[1, 2]"),
    ],
)
def test_a_damaged_cache_is_rebuilt(
    source: Path, tmp_path: Path, decodings: list[int], suffix: str, damage: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    plain = load_dataset(str(source), size=12, cache=cache)
    damage(next(cache.glob(f"*{suffix}")))
    assert equal(load_dataset(str(source), size=12, cache=cache), plain)
    assert equal(load_dataset(str(source), size=12, cache=cache), plain)
    assert len(decodings) == 2


def test_one_flipped_bit_is_noticed_and_said(
    source: Path, tmp_path: Path, decodings: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    plain = load_dataset(str(source), size=12, cache=cache)
    flip_last_byte(next(cache.glob("*.npy")))
    capsys.readouterr()
    assert equal(load_dataset(str(source), size=12, cache=cache), plain)
    assert "damaged (the checksum differs); decoding again" in capsys.readouterr().err
    assert len(decodings) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    data = load_dataset(str(source), size=12, cache=tmp_path / "file")
    assert equal(data, load_dataset(str(source), size=12))
    assert "used without a cache" in capsys.readouterr().err


def test_a_changed_label_is_noticed(source: Path, tmp_path: Path, decodings: list[int]) -> None:
    cache = tmp_path / "cache"
    plain = load_dataset(str(source), size=12, cache=cache)
    file = next(cache.glob("*.json"))
    values = json.loads(file.read_text())
    values["labels"][0] = 1 - values["labels"][0]
    file.write_text(json.dumps(values))
    assert equal(load_dataset(str(source), size=12, cache=cache), plain)
    assert len(decodings) == 2
