"""The split of a run, kept by the content of its images: what was trained on stays apart when images come and go."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json, write_json
from netwright.core.progress import say
from netwright.data.images import Dataset, ImageSet, split

FILE = "split.json"
SCHEMA = 1


def keep_split(folder: Path, dataset: Dataset, about: Mapping[str, Any], search_N: Tensor) -> None:
    """Write which image is for what, unless the folder of the run says so already; images without keys are not kept.

    Args:
        folder: of the run.
        dataset: as it was split for the training.
        about: what the split depends on: source, size, seed, fractions; JSON.
        search_N: positions of the training images by which a search chooses.
    """
    train, val = dataset.train.keys_N, dataset.val.keys_N
    if train is None or val is None or (folder / FILE).exists():
        return
    record = {"schema": SCHEMA, "about": dict(about), "mean": list(dataset.mean), "std": list(dataset.std)}
    record |= {"train": _text(train), "validation": _text(val), "search": search_N.tolist()}
    write_json(folder / FILE, record)


def kept_split(folder: Path, dataset: Dataset, about: Mapping[str, Any] | None = None) -> Dataset:
    """Return a data set with the split, mean and deviation that the run in a folder was trained with.

    Images that have come since are left out, since nothing says what they are for; images that are gone are missing.
    How many there are of both is said, and stands in `changes`. Where the folder keeps no split, or, with `about`, one of
    other data, the data set is returned as it is.

    Raises:
        NetwrightError: the record is damaged, or a part has no images left.
    """
    if not (folder / FILE).is_file():
        return dataset
    record = read_json(folder / FILE)
    try:
        if record["schema"] != SCHEMA or (about is not None and record["about"] != dict(about)):
            return dataset
        train_N, val_N = _keys(record["train"]), _keys(record["validation"])
        search_N = torch.zeros(len(train_N), dtype=torch.bool)
        search_N[torch.tensor(record["search"], dtype=torch.int64)] = True
        mean, std = tuple(record["mean"]), tuple(record["std"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NetwrightError(f"{folder / FILE} is damaged ({error}). Restore it, or train a new run.") from error
    if dataset.train.keys_N is None or dataset.val.keys_N is None:
        return dataset
    there_N = torch.cat([dataset.train.keys_N, dataset.val.keys_N])
    if torch.equal(dataset.train.keys_N, train_N) and torch.equal(dataset.val.keys_N, val_N):
        return dataclasses.replace(dataset, search_N=search_N.nonzero()[:, 0], mean=mean, std=std)
    places_N = _places(torch.cat([train_N, val_N]), there_N)
    is_there_N = places_N >= 0
    new, missing = len(there_N) - int(is_there_N.sum()), int((~is_there_N).sum())
    found_N = is_there_N[: len(train_N)]
    train = _select(dataset, places_N[: len(train_N)][found_N])
    val = _select(dataset, places_N[len(train_N) :][is_there_N[len(train_N) :]])
    changes = f"{new} new images are not used, {missing} are missing" if new or missing else "images have moved"
    search_N = search_N[found_N].nonzero()[:, 0]
    for part, count in (("training", len(train) - len(search_N)), ("search", len(search_N)), ("validation", len(val))):
        if not count:
            raise NetwrightError(
                f"{dataset.name}: none of the {part} images that {folder} was trained with is left ({changes}). "
                "Restore the data, or train a new run."
            )
    say(
        f"{dataset.name} has changed since {folder} was trained: {changes}. Only what was held out then is measured on."
    )
    return dataclasses.replace(dataset, train=train, val=val, search_N=search_N, mean=mean, std=std, changes=changes)


def search_parts(dataset: Dataset, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Part the training images into those that are trained on and those by which a search chooses.

    `fraction`, `seed`: as of `split`, where no record of a run says which they are.
    """
    if dataset.search_N is None:
        return split(dataset.train, fraction, seed)
    rest_N = torch.ones(len(dataset.train), dtype=torch.bool)
    rest_N[dataset.search_N] = False
    return dataset.train.select(rest_N.nonzero()[:, 0]), dataset.train.select(dataset.search_N)


def _places(wanted_N: Tensor, there_M: Tensor) -> Tensor:
    """Return where each key is, int64 [N], -1 for none; a place is given once, so that copies are counted."""
    free: dict[int, list[int]] = defaultdict(list)
    for place, key in reversed(list(enumerate(there_M.tolist()))):
        free[key].append(place)
    return torch.tensor([free[key].pop() if free.get(key) else -1 for key in wanted_N.tolist()], dtype=torch.int64)


def _select(dataset: Dataset, places_N: Tensor) -> ImageSet:
    """Return images by their places in the training and validation images, counted as one row (a copy)."""
    train, val = dataset.train, dataset.val
    first_N = places_N < len(train)
    images_NCHW = torch.empty(len(places_N), *train.images_NCHW.shape[1:], dtype=torch.uint8)
    labels_N, keys_N = torch.empty(2, len(places_N), dtype=torch.int64)
    for part, rows_N, start in ((train, first_N, 0), (val, ~first_N, len(train))):
        index_N = places_N[rows_N] - start
        images_NCHW[rows_N], labels_N[rows_N] = part.images_NCHW[index_N], part.labels_N[index_N]
        if part.keys_N is not None:
            keys_N[rows_N] = part.keys_N[index_N]
    return ImageSet(images_NCHW, labels_N, keys_N=keys_N)


def _text(keys_N: Tensor) -> str:
    return keys_N.numpy().astype("<i8").tobytes().hex()


def _keys(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytes.fromhex(text), "<i8").astype(np.int64))
