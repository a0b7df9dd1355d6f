"""Datasets by name: digits, torchvision, Hugging Face."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from netwright.core.errors import NetwrightError
from netwright.data import augment_for, load_dataset


def test_digits() -> None:
    data = load_dataset("digits", size=32)
    assert data.name == "digits"
    assert data.classes == tuple("0123456789")
    assert len(data.train) + len(data.val) == 1797
    assert data.train.size == 32
    assert not augment_for(data).flip
    assert torch.equal(data.train.images_NCHW[:, 0], data.train.images_NCHW[:, 2])
    assert len(set(data.mean)) == 1
    small = load_dataset("digits", size=8)
    known = {
        (np.round(image * 255 / 16).astype(np.uint8).tobytes()): label for image, label in zip(*digits(), strict=True)
    }
    for image, label in zip(small.val.images_NCHW, small.val.labels_N, strict=True):
        assert known[image[0].numpy().tobytes()] == label


def digits() -> tuple[np.ndarray, np.ndarray]:
    bunch = load_digits()
    return bunch.images, bunch.target


class Blocks(torchvision.datasets.VisionDataset):
    """Stands for a torchvision dataset: one colour a class, training and test part."""

    def __init__(self, root: str, train: bool = True, download: bool = False):
        super().__init__(root)
        if not Path(root).exists() and not download:
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.targets = [0, 1, 2] * (4 if train else 2)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, object]:
        return Image.new("RGB", (9, 9), (10 * self.targets[index], 0, 0)), self.targets[index]


class Splits(Blocks):
    """A dataset with a `split` setting and with names of classes."""

    classes = ("one", "two", "three")

    def __init__(self, root: str, split: str = "trainval", download: bool = False):
        if split not in ("trainval", "test"):
            raise ValueError(f"Unknown value {split!r} for argument split.")
        super().__init__(root, split == "trainval", download)


class Boxes(Blocks):
    """A dataset for detection."""

    def __init__(self, root: str, train: bool = True):
        super().__init__(root, train)
        self.targets = [{"boxes": []}] * 8

    def __getitem__(self, index: int) -> tuple[Image.Image, object]:
        return Image.new("RGB", (9, 9)), self.targets[index]


class NamedBoxes(Boxes):
    """A dataset for detection that names its classes."""

    classes = ("cat", "dog")


@pytest.mark.parametrize(("kind", "classes"), [(Blocks, ("0", "1", "2")), (Splits, ("one", "two", "three"))])
def test_torchvision(kind: type, classes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", kind)
    data = load_dataset(f"torchvision:MNIST:{tmp_path}", size=9, cache=tmp_path / "cache")
    assert data.classes == classes
    assert (len(data.train), len(data.val)) == (12, 6)
    for part in (data.train, data.val):
        assert torch.equal(part.images_NCHW[:, 0, 4, 4].long(), 10 * part.labels_N)


def test_torchvision_without_parts_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(torchvision.datasets.FakeData):
        def __init__(self) -> None:
            super().__init__(60, (3, 16, 16), 3)

    monkeypatch.setattr(torchvision.datasets, "FakeData", Small)
    data = load_dataset("torchvision:FakeData", size=16)
    assert len(data.classes) == 3
    assert len(data.train) + len(data.val) == 60


def test_torchvision_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetwrightError, match=r"CIFAR10 cannot be opened at data.*pass download=True"):
        load_dataset("torchvision:CIFAR10", size=32)
    assert list(tmp_path.iterdir()) == []


def test_torchvision_downloads_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", Blocks)
    with pytest.raises(NetwrightError, match="not found"):
        load_dataset(f"torchvision:MNIST:{tmp_path / 'no'}", size=9)
    assert len(load_dataset(f"torchvision:MNIST:{tmp_path / 'no'}", size=9, download=True).train) == 12


def test_torchvision_name_misspelt() -> None:
    with pytest.raises(NetwrightError, match="Did you mean 'CIFAR10'"):
        load_dataset("torchvision:CIFAR01", size=32)
    with pytest.raises(NetwrightError, match="not known"):
        load_dataset("torchvision:", size=32)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Boxes, "is not a classification dataset"), (NamedBoxes, "not an image with a class, but Image with dict")],
)
def test_torchvision_without_class_labels(
    kind: type, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets, "VOCDetection", kind)
    with pytest.raises(NetwrightError, match=text):
        load_dataset(f"torchvision:VOCDetection:{tmp_path}", size=9)


def test_hugging_face_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(NetwrightError, match="pip install datasets"):
        load_dataset(str(tmp_path), size=8)


@pytest.mark.filterwarnings("ignore")  # those of datasets and pyarrow themselves
@pytest.mark.parametrize("val", ["validation", "test", None])
def test_hugging_face(tmp_path: Path, val: str | None) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})

    def table(count: int) -> object:
        labels = [index % 2 for index in range(count)]
        pictures = [Image.new("RGB", (8, 8), (100 * label, 0, 0)) for label in labels]
        return datasets.Dataset.from_dict({"picture": pictures, "kind": labels}, features=features)

    stored = datasets.DatasetDict({"train": table(12), val: table(4)}) if val else table(12)
    stored.save_to_disk(tmp_path / "hf")
    data = load_dataset(str(tmp_path / "hf"), size=8, cache=tmp_path / "cache")
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.val)) == ((12, 4) if val else (10, 2))
    for part in (data.train, data.val):
        assert torch.equal(part.images_NCHW[:, 0, 4, 4].long(), 100 * part.labels_N)


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_without_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "hf")
    with pytest.raises(NetwrightError, match=r"needs a column of type Image.*text \(Value\)"):
        load_dataset(str(tmp_path / "hf"), size=8)
    (tmp_path / "hf" / "state.json").write_text("{}")
    with pytest.raises(NetwrightError, match="not a readable Hugging Face dataset"):
        load_dataset(str(tmp_path / "hf"), size=8)
