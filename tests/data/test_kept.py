"""The split of a run is kept by content: nothing that was trained on becomes a validation image, whatever comes and goes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.data import Dataset, ImageSet, load_dataset, split
from netwright.data.images import held_out
from netwright.data.kept import FILE, keep_split, kept_split, search_parts

Make = Callable[..., Path]
Pictures = set[bytes]


def load(source: Path) -> Dataset:
    return load_dataset(str(source), size=12, val_fraction=0.2)


def pictures(images: ImageSet) -> Pictures:
    return {image.numpy().tobytes() for image in images.images_NCHW}


def parts(data: Dataset) -> tuple[ImageSet, ImageSet, ImageSet]:
    return (*search_parts(data, 0.2, 0), data.val)


def same(one: ImageSet, other: ImageSet) -> bool:
    return torch.equal(one.images_NCHW, other.images_NCHW) and torch.equal(one.labels_N, other.labels_N)


@pytest.fixture
def source(folders: Make) -> Path:
    return folders({"cat": 20, "dog": 30})


@pytest.fixture
def run(source: Path, tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    data = load(source)
    keep_split(tmp_path / "run", data, {"source": "here"}, held_out(data.train.labels_N, 0.2, 0))
    return tmp_path / "run"


def add(source: Path, png: Callable[..., bytes], count: int) -> None:
    """Put images before, between and after those that are there; the split by seed then is another one."""
    for number in range(count):
        name = ("0000a", "010a", "zz")[number % 3]
        (source / ("cat", "dog")[number % 2] / f"{name}{number}.png").write_bytes(png(seed=9000 + number))


def test_unchanged_data_is_split_as_it_was(source: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(source)
    kept = kept_split(run, data)
    assert all(map(same, parts(kept), (*split(data.train, 0.2, 0), data.val)))
    assert kept.changes == "" and capsys.readouterr().err == ""


def test_new_images_are_not_measured_on(
    source: Path, run: Path, png: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    before = load(source)
    add(source, png, 25)
    again = load(source)
    assert pictures(again.val) & pictures(before.train)  # what the seed alone would do
    kept = kept_split(run, again)
    assert all(map(same, parts(kept), parts(dataclasses.replace(before, search_N=None))))
    assert (kept.mean, kept.std) == (before.mean, before.std)
    assert kept.changes == "25 new images are not used, 0 are missing"
    told = capsys.readouterr().err
    assert "25 new images are not used" in told and told.count("\n") == 1


def test_missing_renamed_and_moved_images(source: Path, run: Path) -> None:
    before = load(source)
    for number in range(10):
        (source / "dog" / f"{number:03}.png").unlink()
    for number in range(10, 20):
        (source / "dog" / f"{number:03}.png").rename(source / "dog" / f"moved{number}.png")
    kept = kept_split(run, load(source))
    assert kept.changes == "0 new images are not used, 10 are missing"
    for now, then in zip(parts(kept), parts(before), strict=True):
        assert pictures(now) <= pictures(then)
    assert sum(map(len, parts(kept))) == 40


def test_a_split_by_folders_made_later_moves_nothing(source: Path, run: Path, tmp_path: Path) -> None:
    before = load(source)
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (tmp_path / "parted" / part / kind).mkdir(parents=True)
    for file in sorted(source.rglob("*.png")):
        part = "val" if file.stem.endswith(("0", "1", "2")) else "train"
        (tmp_path / "parted" / part / file.parent.name / file.name).write_bytes(file.read_bytes())
    kept = kept_split(run, load(tmp_path / "parted"))
    assert all(map(same, parts(kept), parts(before)))
    assert kept.changes == "images have moved"


def test_a_copy_of_a_training_image_is_a_new_image(source: Path, run: Path) -> None:
    before = load(source)
    content = before.train.images_NCHW[0]
    for file in list((source / "cat").iterdir()):
        (source / "cat" / f"copy of {file.name}").write_bytes(file.read_bytes())
    kept = kept_split(run, load(source))
    assert "20 new images" in kept.changes
    assert sum(torch.equal(image, content) for image in kept.train.images_NCHW) == 1
    assert all(map(same, parts(kept), parts(before)))


def test_nothing_left_is_refused(folders: Make, run: Path) -> None:
    other = folders({"lion": 8, "wolf": 8}, "other")
    for number, file in enumerate(sorted(other.rglob("*.png"))):
        content = bytearray(file.read_bytes())
        file.write_bytes(bytes(content) + bytes([number]))  # the same pixels in another file are another file
    with pytest.raises(NetwrightError, match=r"none of the training images.*50 are missing"):
        kept_split(run, load(other))


def test_a_run_without_a_record_and_other_data_stay_as_they_are(source: Path, run: Path, tmp_path: Path) -> None:
    data = load(source)
    assert kept_split(tmp_path, data) is data
    assert kept_split(run, data, {"source": "there"}) is data
    assert kept_split(run, data, {"source": "here"}).search_N is not None


@pytest.mark.parametrize("change", [{"train": "xyz"}, {"search": [10**6]}, {"validation": None}, {"mean": 3}])
def test_a_damaged_record_is_refused(source: Path, run: Path, change: dict[str, object]) -> None:
    record = json.loads((run / FILE).read_text())
    (run / FILE).write_text(json.dumps(record | change))
    with pytest.raises(NetwrightError, match="is damaged"):
        kept_split(run, load(source))


def test_a_record_is_written_once(source: Path, run: Path, png: Callable[..., bytes]) -> None:
    before = (run / FILE).read_bytes()
    add(source, png, 5)
    keep_split(run, load(source), {}, torch.arange(3))
    assert (run / FILE).read_bytes() == before


def test_keys_go_through_the_cache(source: Path, run: Path, png: Callable[..., bytes], tmp_path: Path) -> None:
    add(source, png, 7)
    for _ in range(2):
        data = load_dataset(str(source), size=12, val_fraction=0.2, cache=tmp_path / "cache")
        assert kept_split(run, data).changes == "7 new images are not used, 0 are missing"
