"""Class folders in every layout, and what a person gets to read when something is wrong with them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.data import Augment, Dataset, Loader, calibration_batches, load_dataset
from netwright.data import decode as decoding
from netwright.data import files as files_module

Make = Callable[..., Path]
ONE = {"cat": 10, "dog": 20}
TWO = {"train/cat": 4, "train/dog": 5, "val/cat": 2, "val/dog": 1}


def same(one: Dataset, other: Dataset) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in (
            (one.train.images_NCHW, other.train.images_NCHW),
            (one.val.images_NCHW, other.val.images_NCHW),
            (one.train.labels_N, other.train.labels_N),
            (one.val.labels_N, other.val.labels_N),
        )
    ) and (one.classes, one.mean, one.std) == (other.classes, other.mean, other.std)


def test_one_tree_is_split_by_class(folders: Make) -> None:
    data = load_dataset(str(folders(ONE)), size=12, val_fraction=0.2)
    assert data.name == "set"
    assert data.classes == ("cat", "dog")
    assert data.train.labels_N.bincount().tolist() == [8, 16]
    assert data.val.labels_N.bincount().tolist() == [2, 4]
    pictures = {image.numpy().tobytes() for part in (data.train, data.val) for image in part.images_NCHW}
    assert len(pictures) == 30
    other = load_dataset(str(folders(ONE)), size=12, val_fraction=0.2, seed=1)
    assert not torch.equal(other.val.images_NCHW, data.val.images_NCHW)


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Train", "validation"), ("training", "test")])
def test_split_folders(folders: Make, train: str, val: str) -> None:
    data = load_dataset(str(folders({f"{train}/cat": 4, f"{train}/dog": 5, f"{val}/cat": 2, f"{val}/dog": 1})), size=12)
    assert data.classes == ("cat", "dog")
    assert data.train.labels_N.tolist() == [0] * 4 + [1] * 5
    assert data.val.labels_N.tolist() == [0] * 2 + [1]


def test_validation_goes_before_test(folders: Make) -> None:
    data = load_dataset(str(folders({**TWO, "test/cat": 9, "test/dog": 9})), size=12)
    assert len(data.val) == 3


@pytest.mark.parametrize("counts", [ONE, TWO])
@pytest.mark.parametrize("prefix", ["", "wrapped/", "a/b/"])
def test_a_zip_is_its_directory(folders: Make, zipped: Make, counts: dict[str, int], prefix: str) -> None:
    folder = folders(counts)
    assert same(load_dataset(str(zipped(folder, prefix=prefix)), size=12), load_dataset(str(folder), size=12))


def test_a_pair_of_archives(folders: Make, zipped: Make, tmp_path: Path) -> None:
    folder = folders(TWO)
    train = zipped(folder / "train", "c-train.zip", "train/")
    val = zipped(folder / "val", "c-test.zip")
    expected = load_dataset(str(folder), size=12)
    assert same(load_dataset(f"{train},{val}", size=12), expected)
    (tmp_path / "both").mkdir()
    for archive in (train, val):
        archive.rename(tmp_path / "both" / archive.name)
    assert same(load_dataset(str(tmp_path / "both"), size=12), expected)
    (tmp_path / "both" / "other-train.zip").write_bytes(b"")
    with pytest.raises(NetwrightError, match="Name two"):
        load_dataset(str(tmp_path / "both"), size=12)


def test_hidden_files_other_files_and_deeper_folders(folders: Make) -> None:
    folder = folders({"cat/indoors": 3, "cat/outdoors": 3, "dog": 4, ".git/objects": 3, "__MACOSX/cat": 3})
    (folder / "cat" / "._000.png").write_bytes(b"resource fork")
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "loose.png").write_bytes(b"not looked at")
    data = load_dataset(str(folder), size=12, val_fraction=0.3)
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.val) == 10
    assert len(data.skipped) == 1
    assert "1 images outside class folders" in data.skipped[0]


def test_a_link_to_a_parent_ends(folders: Make) -> None:
    folder = folders(ONE)
    (folder / "cat" / "again").symlink_to(folder)
    assert load_dataset(str(folder), size=12).classes == ("cat", "dog")


def test_an_unlabelled_test_folder_is_left_out(folders: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folders({"train/cat": 4, "train/dog": 5, "test": 6})
    data = load_dataset(str(folder), size=12)
    assert len(data.train) + len(data.val) == 9
    assert "test/ has no class folders" in capsys.readouterr().err


def test_the_order_of_directories_does_not_matter(folders: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders(ONE)
    expected = load_dataset(str(folder), size=12)
    scandir = os.scandir

    @contextlib.contextmanager
    def reverse(path: Path):
        with scandir(path) as entries:
            yield iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(files_module.os, "scandir", reverse)
    assert same(load_dataset(str(folder), size=12), expected)


def digest(source: str) -> str:
    """Return a digest of everything that is drawn at random."""
    data = load_dataset(source, size=12, val_fraction=0.3, seed=5)
    kind = Augment("resized-crop")
    loader = Loader(data.train, batch_size=5, mean=data.mean, std=data.std, augment=kind, seed=5)
    tensors = [data.train.images_NCHW, data.val.images_NCHW, *loader.batch(1, 2, 9)]
    tensors += calibration_batches(data, resolution=9)
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content + repr((data.classes, data.mean, data.std)).encode()).hexdigest()


def test_another_process_with_other_hashes_gets_the_same(folders: Make) -> None:
    source = str(folders({"d": 6, "c": 6, "b": 6, "a": 6}))
    code = f"import runpy; print(runpy.run_path({__file__!r})['digest']({source!r}))"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "17", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert child.stdout.strip() == digest(source)


def refuse(source: object, text: str, **settings: object) -> str:
    with pytest.raises(NetwrightError, match=text) as caught:
        load_dataset(str(source), **{"size": 12, **settings})  # pyright: ignore[reportArgumentType]
    return str(caught.value)


def test_a_wrong_path_names_the_nearest_folder(tmp_path: Path) -> None:
    message = refuse(tmp_path / "there" / "no" / "where", "does not exist")
    assert f"nearest folder that does is {tmp_path}." in message
    assert "class folders" in message
    refuse(f"{tmp_path / 'a.zip'},{tmp_path / 'b.zip'}", "a.zip does not exist")
    refuse("", "does not exist")


def test_too_many_paths(tmp_path: Path) -> None:
    refuse(f"{tmp_path},{tmp_path},{tmp_path}", "two are allowed")


def test_a_file_that_is_not_a_zip(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_text("this is text")
    refuse(tmp_path / "set.zip", "not a usable zip archive")


def test_a_zip_cut_off(folders: Make, zipped: Make) -> None:
    archive = zipped(folders(ONE))
    archive.write_bytes(archive.read_bytes()[:-100])
    refuse(archive, "not a usable zip archive")


def test_an_encrypted_zip(folders: Make, zipped: Make) -> None:
    archive = zipped(folders(ONE))
    content = bytearray(archive.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 1  # the flag that says so
    archive.write_bytes(content)
    refuse(archive, "encrypted.*cat/000.png")


@pytest.mark.parametrize("counts", [{}, {"cat": 0}, {"train/cat": 0, "val/cat": 0}])
def test_no_images(folders: Make, counts: dict[str, int]) -> None:
    folder = folders(counts)
    folder.mkdir(exist_ok=True)
    refuse(folder, "no images in class folders.*Expected CLASS/IMAGE")


def test_loose_images_only(folders: Make) -> None:
    refuse(folders({".": 3}), "no images in class folders.*3 images outside class folders")


def test_an_empty_class(folders: Make, zipped: Make) -> None:
    refuse(folders({**ONE, "emu": 0}), "class folder emu holds no images")
    refuse(folders({**TWO, "train/emu": 0, "val/emu": 1}, "two"), "class folder emu holds no images")


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_validation_class_and_a_missing_one_get_the_same_advice(folders: Make, there: bool) -> None:
    counts = {**TWO, "train/emu": 3, **({"val/emu": 0} if there else {})}
    text = refuse(folders(counts), "add validation images of that class, or remove it from both parts")
    assert "remove the folder" not in text


def test_one_class_only(folders: Make) -> None:
    refuse(folders({"train/cat": 4, "val/cat": 4}), "one class only")


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_missing_in_one_part(folders: Make, part: str) -> None:
    where = {"train": "validation", "val": "training"}[part]
    refuse(folders({**TWO, f"{part}/emu": 3}), f"the {where} images have no folder for class emu")


def test_a_class_with_one_image_cannot_be_split(folders: Make) -> None:
    refuse(folders({**ONE, "emu": 1}), "two readable images; class emu has fewer")


@pytest.mark.parametrize("size", [0, -1, 1.5, 5000])
def test_a_wrong_size(folders: Make, size: float) -> None:
    refuse(folders(ONE), "image size must be", size=size)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -1])
def test_a_wrong_fraction(folders: Make, fraction: float) -> None:
    refuse(folders(ONE), "fraction must lie between", val_fraction=fraction)


def test_corrupt_images_are_skipped_and_named(
    folders: Make, zipped: Make, png: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders(ONE)
    (folder / "cat" / "000.png").write_bytes(b"")
    (folder / "cat" / "001.png").write_bytes(png()[:60])
    (folder / "dog" / "002.png").write_text("hello")
    data = load_dataset(str(folder), size=12)
    assert [line.partition(":")[0] for line in data.skipped] == ["cat/000.png", "cat/001.png", "dog/002.png"]
    assert (data.train.labels_N.bincount() + data.val.labels_N.bincount()).tolist() == [8, 19]
    warning = capsys.readouterr().err
    assert "3 of 30 images cannot be read, such as cat/000.png" in warning
    assert warning.count("\n") == 1
    assert same(load_dataset(str(zipped(folder)), size=12), data)
    assert not any((image == 0).all() for part in (data.train, data.val) for image in part.images_NCHW)


def test_corrupt_images_at_the_seam_of_train_and_val(folders: Make) -> None:
    folder = folders(TWO)
    whole = load_dataset(str(folder), size=12)
    (folder / "train" / "dog" / "004.png").write_bytes(b"")
    (folder / "val" / "cat" / "000.png").write_bytes(b"")
    data = load_dataset(str(folder), size=12)
    assert torch.equal(data.train.images_NCHW, whole.train.images_NCHW[:-1])
    assert torch.equal(data.val.images_NCHW, whole.val.images_NCHW[1:])


def test_more_corrupt_than_good(folders: Make) -> None:
    folder = folders(ONE)
    for file in (folder / "dog").iterdir():
        file.write_bytes(b"")
    refuse(folder, "20 of 30 images cannot be read.*More than half")


def test_a_class_of_corrupt_images_only(folders: Make) -> None:
    folder = folders({**TWO, "val/dog": 2, "val/cat": 1})
    (folder / "val" / "cat" / "000.png").write_bytes(b"")
    refuse(folder, "validation: every class needs a readable image; class cat has fewer")


def test_a_checksum_error_in_a_zip_skips_the_image(folders: Make, zipped: Make) -> None:
    archive = zipped(folders(ONE))
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 255
    archive.write_bytes(content)
    data = load_dataset(str(archive), size=12)
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith("cat/000.png: Bad CRC-32")


def test_a_zip_bomb_is_skipped(folders: Make, zipped: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(folders(ONE))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/bomb.png", bytes(1 << 20))
    monkeypatch.setattr(files_module, "_LARGEST_FILE", 1 << 19)
    data = load_dataset(str(archive), size=12)
    assert data.skipped == ("cat/bomb.png: 1 MB is too large for one image",)


def test_too_little_memory(folders: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "free_memory", lambda: 100_000)
    message = refuse(folders(ONE), "30 images of 100 x 100 need 0.00 GB", size=100)
    assert "at most 25 pixels" in message
    assert load_dataset(str(folders(ONE)), size=25).train.size == 25


def test_free_memory_is_plausible() -> None:
    free = decoding.free_memory()
    assert free is None or 1 << 20 < free < 1 << 50


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_zip_never_ends_in_another_error(folders: Make, zipped: Make, data: st.DataObject) -> None:
    archive = zipped(folders({"cat": 3, "dog": 3}))
    content = bytearray(archive.read_bytes())
    # Most of what can go wrong is in the central directory at the end.
    start = content.index(b"PK\x01\x02") if data.draw(st.booleans()) else 0
    for position in data.draw(st.lists(st.integers(start, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    with contextlib.suppress(NetwrightError):
        load_dataset(str(archive), size=8)


@pytest.mark.skipif("NETWRIGHT_DATA" not in os.environ, reason="NETWRIGHT_DATA names no real data")
def test_real_data() -> None:
    data = load_dataset(os.environ["NETWRIGHT_DATA"], size=32)
    assert len(data.skipped) == 0
    assert len(data.train) > len(data.val) > 0
