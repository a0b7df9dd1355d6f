"""No file is dropped without a word: links, endings and names of every kind, and what is left out is counted."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from netwright.core.errors import NetwrightError
from netwright.data import Dataset, load_dataset
from netwright.data.decode import square_rgb
from netwright.data.folders import SUFFIXES

Make = Callable[..., Path]


def images_of(data: Dataset) -> torch.Tensor:
    return torch.cat([data.train.images_NCHW, data.val.images_NCHW])


def renamed(archive: Path, change: Callable[[str], str]) -> Path:
    """Return a copy of an archive whose entries have other names, folders listed too as tar does."""
    out = archive.with_name("renamed.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(out, "w") as new:
        folders = {f"{parent}/" for name in old.namelist() for parent in Path(name).parents}
        for folder in sorted(folders):
            info = zipfile.ZipInfo("")
            info.filename = change(folder)
            new.writestr(info, b"")
        for name in old.namelist():
            info = zipfile.ZipInfo("")
            info.filename = change(name)  # as it is: the constructor would tidy it
            new.writestr(info, old.read(name))
    return out


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"./{name}" if name != "./" else name,
        lambda name: f"/data/{name}",
        lambda name: f"//{name}",
        lambda name: f"C:\\data\\{name}".replace("/", "\\"),
        lambda name: name.replace("/", "\\"),
        lambda name: f"a/../b/./{name}",
        lambda name: f"../{name}",
    ],
    ids=["dot", "absolute", "two slashes", "drive", "backslashes", "dots within", "above"],
)
@pytest.mark.parametrize("counts", [{"cat": 5, "dog": 6}, {"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dog": 1}])
def test_names_in_an_archive_need_not_be_plain(
    folders: Make, zipped: Make, counts: dict[str, int], change: Callable[[str], str]
) -> None:
    plain = zipped(folders(counts))
    expected, data = load_dataset(str(plain), size=8), load_dataset(str(renamed(plain, change)), size=8)
    assert data.classes == expected.classes == ("cat", "dog")
    assert torch.equal(data.train.images_NCHW, expected.train.images_NCHW)
    assert torch.equal(data.val.images_NCHW, expected.val.images_NCHW)
    assert data.skipped == ()


def test_the_archive_of_tar() -> None:
    case = Path(os.environ.get("NETWRIGHT_DATA", "none")) / "cases" / "dot-slash-names.zip"
    if not case.exists():
        pytest.skip("NETWRIGHT_DATA has no folder cases")
    data = load_dataset(str(case), size=16)
    with zipfile.ZipFile(case) as archive:
        count = sum(name.endswith(".png") for name in archive.namelist())
    assert data.classes == ("a", "b")
    assert len(images_of(data)) == count


def test_every_link_to_a_folder_is_followed(folders: Make, tmp_path: Path) -> None:
    pool = folders({"cat": 4, "dog": 5}, "pool")
    for part in ("train", "val"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "set" / part / name).symlink_to(pool / name)
    data = load_dataset(str(tmp_path / "set"), size=12)
    assert torch.equal(data.train.images_NCHW, data.val.images_NCHW)
    assert len(data.val) == 9


def test_a_link_from_val_to_train_is_no_split(
    folders: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders({"train/cat": 4, "train/dog": 5})
    (folder / "val").symlink_to(folder / "train")
    data = load_dataset(str(folder), size=12)
    assert len(data.train) == len(data.val) == 9
    assert "9 of 9 validation images are training images too" in capsys.readouterr().err


def test_two_classes_may_be_one_folder(folders: Make) -> None:
    folder = folders({"cat": 4, "dog": 5})
    (folder / "hound").symlink_to(folder / "dog")
    assert load_dataset(str(folder), size=12).classes == ("cat", "dog", "hound")


def test_links_that_cannot_be_followed_are_told(folders: Make) -> None:
    folder = folders({"cat": 4, "dog": 5})
    (folder / "cat" / "again").symlink_to(folder)
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere")
    data = load_dataset(str(folder), size=12)
    assert len(images_of(data)) == 9
    assert data.skipped == (
        f"{folder}: 2 links (cat/again: a link back to a folder around it; dog/gone.png: a link that leads nowhere)",
    )


def test_all_that_is_left_out_is_told_in_one_line(
    folders: Make, zipped: Make, png: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"train/cat": 4, "train/dog": 4, "val/cat": 1, "val/dog": 1, "test/cat": 3, "train/cat/.thumbs": 2}
    folder = folders({**counts, "__MACOSX/cat": 2})
    (folder / "train" / "loose.png").write_bytes(png())
    (folder / "train" / "dog" / "000.png").write_bytes(b"")
    for name in ("notes.txt", "photo.HEIC", "LICENSE"):
        (folder / "train" / "cat" / name).write_text("x")
    for source in (folder, zipped(folder)):
        load_dataset(str(source), size=12)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        for part in (
            "1 of 10 images cannot be read, such as train/dog/000.png",
            "1 images outside class folders",
            "3 images in test/, which is not one of the two parts used",
            "2 hidden images",
            "3 files of other kinds (.heic, .txt, no ending)",
        ):
            assert part in lines[0]


def test_nothing_is_told_where_nothing_is_left_out(folders: Make, capsys: pytest.CaptureFixture[str]) -> None:
    load_dataset(str(folders({"cat": 4, "dog": 5})), size=12)
    assert capsys.readouterr().err == ""


KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF"}
KINDS |= {".pbm": "PPM", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
KINDS |= {".avif": "AVIF"}


def test_every_ending_that_is_listed_is_read(tmp_path: Path) -> None:
    assert set(KINDS) == set(SUFFIXES)
    kinds = {suffix: kind for suffix, kind in KINDS.items() if kind != "AVIF" or features.check("avif")}
    for name, colour in (("cat", (200, 60, 20)), ("dog", (20, 60, 200))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for suffix, kind in kinds.items():
            image = Image.new("RGB", (16, 16), colour).convert("1" if suffix == ".pbm" else "RGB")
            image.save(tmp_path / "set" / name / f"picture{suffix}", kind)
    data = load_dataset(str(tmp_path / "set"), size=8)
    assert data.skipped == ()
    assert len(images_of(data)) == 2 * len(kinds)


def tiff(tmp_path: Path, values: np.ndarray) -> bytes:
    Image.fromarray(values).save(tmp_path / "wide.tif")
    return (tmp_path / "wide.tif").read_bytes()


def test_wide_integers_are_read_by_the_range_that_they_use(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.int32).reshape(16, 16)
    for values in (grey, grey * 257):
        out = square_rgb(tiff(tmp_path, values), 16)
        assert np.array_equal(out, np.stack([grey.astype(np.uint8)] * 3, 2))
    for values in (grey * 258, grey - 1):
        with pytest.raises(ValueError, match="have no known range"):
            square_rgb(tiff(tmp_path, values), 16)


def test_a_dark_image_of_16_bits_stays_dark(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert not square_rgb(tiff(tmp_path, values), 16).any()
    for name in ("dark.png", "dark.pgm"):
        Image.fromarray(values).save(tmp_path / name)
        assert not square_rgb((tmp_path / name).read_bytes(), 16).any()


def test_images_of_no_known_range_are_counted(folders: Make) -> None:
    folder = folders({"cat": 4, "dog": 5})
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(folder / "cat" / "wide.tif")
    Image.new("F", (8, 8)).save(folder / "cat" / "float.tif")
    data = load_dataset(str(folder), size=12)
    assert [line.partition(":")[0] for line in data.skipped] == ["cat/float.tif", "cat/wide.tif"]


def test_an_archive_without_usable_names_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for name in ("..", "/", "./", "\\"):
            info = zipfile.ZipInfo("")
            info.filename = name
            archive.writestr(info, b"x")
    with pytest.raises(NetwrightError, match="no images in class folders"):
        load_dataset(str(tmp_path / "odd.zip"), size=8)
