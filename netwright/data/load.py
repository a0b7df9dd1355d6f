"""From the name of a source to a Dataset."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.data.cache import decode_cached
from netwright.data.decode import Decoded, compact, decode_all, unreadable
from netwright.data.files import missing
from netwright.data.folders import list_folders
from netwright.data.images import Dataset, ImageSet, held_out
from netwright.data.items import Items
from netwright.data.named import is_hugging_face, list_digits, list_hugging_face, list_torchvision
from netwright.data.sides import typical_side

_SOURCES = (
    'a directory or .zip of class folders, "TRAIN.zip,VAL.zip", "digits", "torchvision:NAME[:ROOT]", '
    "or a Hugging Face dataset directory"
)
_LARGEST_SIZE = 4096
_GREY_LEVEL = 0.0039
_CHUNK = 1 << 24


def load_dataset(
    source: str,
    *,
    size: int,
    val_fraction: float = 0.1,
    seed: int = 0,
    cache: Path | None = None,
    download: bool = False,
) -> Dataset:
    """Decode a dataset once into square RGB bytes.

    A `source` is one of:
    - a directory or .zip of class folders, with train/ beside val/, validation/ or test/, or without;
    - two of them with a comma between: training, validation; or a directory that holds a training and a validation .zip;
    - "digits": scikit-learn's, or "torchvision:NAME[:ROOT]";
    - a directory written by `save_to_disk` of the Hugging Face package `datasets`.

    The short side of every image is scaled to `size` pixels and the centre square is kept. Where the source has no
    validation images, `val_fraction` of every class is held out, chosen by `seed`. `cache` is a directory that keeps the
    decoded bytes for the next time. Only with `download` does torchvision fetch what is not there.

    Raises:
        NetwrightError: nothing usable at the source, or more than the memory holds; says what to do.
    """
    if not isinstance(size, int) or not 1 <= size <= _LARGEST_SIZE:
        raise NetwrightError(f"The image size must be a whole number of pixels from 1 to {_LARGEST_SIZE}, not {size}.")
    if not 0 < val_fraction < 1:
        raise NetwrightError(f"The validation fraction must lie between 0 and 1, not {val_fraction}.")
    with contextlib.ExitStack() as stack:
        items = _list(source, download, stack)
        decoded = decode_all(items, size) if cache is None else decode_cached(items, size, Path(cache))
    say_left_out(items, decoded)
    train, val = _parts(items, decoded, source, val_fraction, seed)
    mean, std = channel_statistics(train.images_NCHW)
    return Dataset(items.name, train, val, items.classes, mean, std, (*items.left_out, *decoded.skipped))


def say_left_out(items: Items, decoded: Decoded) -> None:
    """Say in one line what of a source is no part of the data set, and why; nothing where all of it is."""
    told = [unreadable(items.name, len(items.names), decoded.skipped)] if decoded.skipped else []
    if told or items.left_out:
        say(f"{'; '.join((*told, *items.left_out))}. Left out.")


def look_at(source: str) -> tuple[int, int | None]:
    """Return how many images a source has, and the typical shorter side of them in pixels (None: none can be read).

    Raises:
        NetwrightError: nothing usable at the source.
    """
    with contextlib.ExitStack() as stack:
        items = _list(source, False, stack)
        return len(items.names), typical_side(items)


def channel_statistics(images_NCHW: Tensor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation per channel on the scale 0 to 1, to four digits."""
    histogram_CV = torch.zeros(3, 256, dtype=torch.float64)
    for chunk in images_NCHW.split(max(1, _CHUNK // images_NCHW[0].numel())):
        for channel in range(3):
            histogram_CV[channel] += chunk[:, channel].flatten().bincount(minlength=256)
    histogram_CV /= images_NCHW.numel() // 3
    values_V = torch.arange(256, dtype=torch.float64) / 255
    mean_C = histogram_CV @ values_V
    variance_C = (histogram_CV * (values_V - mean_C[:, None]) ** 2).sum(1)
    red, green, blue = (round(mean, 4) for mean in mean_C.tolist())
    # At least a grey level, so that images of a single colour can be divided by it.
    red_std, green_std, blue_std = (max(round(std, 4), _GREY_LEVEL) for std in variance_C.sqrt().tolist())
    return (red, green, blue), (red_std, green_std, blue_std)


def _list(source: str, download: bool, stack: contextlib.ExitStack) -> Items:
    if source == "digits":
        return list_digits()
    if source.startswith("torchvision:"):
        return list_torchvision(source, download)
    path = Path(source)
    if not source or (not path.exists() and "," not in source):
        raise NetwrightError(f"{missing(path)} A source is {_SOURCES}.")
    if path.is_dir() and is_hugging_face(path):
        return list_hugging_face(path)
    paths = [path] if path.exists() else [Path(part.strip()) for part in source.split(",")]
    if len(paths) > 2:
        raise NetwrightError(f"{source!r} names {len(paths)} paths; two are allowed: training,validation.")
    return list_folders(paths, stack)


def _parts(items: Items, decoded: Decoded, source: str, val_fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Divide the decoded images into training and validation without copying the training images."""
    images_NCHW, labels_N, keys_N = decoded.images_NCHW, decoded.labels_N, decoded.keys_N
    if items.train_count is not None:
        count = int((decoded.positions_N < items.train_count).sum())
        train = ImageSet(images_NCHW[:count], labels_N[:count], keys_N=keys_N[:count])
        val = ImageSet(images_NCHW[count:], labels_N[count:], keys_N=keys_N[count:])
        if shared := int(torch.isin(keys_N[count:], keys_N[:count]).sum()):
            say(
                f"{items.name}: {shared} of {len(val)} validation images are training images too: what is measured flatters."
            )
    else:
        _check_present(labels_N, items.classes, source, least=2)
        held_N = held_out(labels_N, val_fraction, seed)
        val = ImageSet(images_NCHW[held_N], labels_N[held_N], keys_N=keys_N[held_N])
        rest_N = torch.ones(len(labels_N), dtype=torch.bool)
        rest_N[held_N] = False
        train = ImageSet(compact(images_NCHW, rest_N.nonzero()[:, 0]), labels_N[rest_N], keys_N=keys_N[rest_N])
    _check_present(train.labels_N, items.classes, f"{source}, training", least=1)
    _check_present(val.labels_N, items.classes, f"{source}, validation", least=1)
    return train, val


def _check_present(labels_N: Tensor, classes: tuple[str, ...], where: str, least: int) -> None:
    sizes = labels_N.bincount(minlength=len(classes)).tolist()
    lacking = [name for name, size in zip(classes, sizes, strict=True) if size < least]
    if lacking:
        names = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        why = (
            "to be split, every class needs two readable images" if least == 2 else "every class needs a readable image"
        )
        raise NetwrightError(f"{where}: {why}; class {names} has fewer. Add images, or remove the class folder.")
