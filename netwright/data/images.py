"""Decoded images in memory, and stratified subsets of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.seeds import derive_seed


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square RGB images as bytes, with their labels, and with the targets of a task that has others.

    Attributes:
        images_NCHW: uint8 [N, 3, S, S].
        labels_N: int64 [N], positions in `Dataset.classes`; subsets hold each label by its share. A set without
            classes has 0 everywhere.
        targets: of any type, [N, ...], what a network is to answer; None: the labels. Set by `Task.prepare`.
        keys_N: int64 [N], of each image a digest of its content, by which it is found again; None: not known.
    """

    images_NCHW: Tensor
    labels_N: Tensor
    targets: Tensor | None = None
    keys_N: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.images_NCHW.shape)
        if self.images_NCHW.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise NetwrightError(f"Images must be uint8 [N, 3, S, S], not {self.images_NCHW.dtype} {list(shape)}.")
        if self.labels_N.dtype != torch.int64 or self.labels_N.shape != shape[:1]:
            raise NetwrightError(
                f"Labels must be int64 [{shape[0]}], not {self.labels_N.dtype} {list(self.labels_N.shape)}."
            )
        if self.targets is not None and self.targets.shape[:1] != shape[:1]:
            raise NetwrightError(f"Targets must be [{shape[0]}, ...], one an image, not {list(self.targets.shape)}.")

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images_NCHW.shape[-1]

    @property
    def wanted(self) -> Tensor:
        """What a network is to answer: the targets, or else the labels."""
        return self.labels_N if self.targets is None else self.targets

    def select(self, index_N: Tensor) -> ImageSet:
        """Return the images at these positions, in this order (a copy)."""
        index_N = index_N.to(self.labels_N.device)
        targets = None if self.targets is None else self.targets[index_N]
        keys_N = None if self.keys_N is None else self.keys_N[index_N.to(self.keys_N.device)]
        return ImageSet(self.images_NCHW[index_N], self.labels_N[index_N], targets, keys_N)

    def take(self, count: int, seed: int = 0) -> ImageSet:
        """Return `count` images in the proportions of the classes, in shuffled order (all, when there are fewer).

        Raises:
            NetwrightError: `count` is below 1.
        """
        if count < 1:
            raise NetwrightError(f"Cannot take {count} images: ask for at least 1.")
        index_N = stratified(self.labels_N, min(count, len(self)), derive_seed(seed, "take"))
        order_N = torch.randperm(len(index_N), generator=_generator(derive_seed(seed, "take", "order")))
        return self.select(index_N[order_N])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and validation images of one task.

    Attributes:
        classes: what the labels mean; empty where there are none.
        mean, std: of the training images, per channel, on the scale 0 to 1.
        skipped: what was left out, as "file: reason".
        search_N: positions of the training images by which a search chooses, where a run's record says which
            (`data.kept`); None: they are still to be drawn.
        changes: in words, how the images differ from those that the run was trained with; empty: not at all.
    """

    name: str
    train: ImageSet
    val: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    skipped: tuple[str, ...] = ()
    search_N: Tensor | None = None
    changes: str = ""


def split(images: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Part a set in two by class: (the rest, `fraction` of every class but at least one image).

    Holding out a part of the training images lets a search choose without looking at the validation images.

    Raises:
        NetwrightError: the fraction is not between 0 and 1, or a class has one image only.
    """
    held_N = held_out(images.labels_N, fraction, seed)
    rest_N = torch.ones(len(images), dtype=torch.bool)
    rest_N[held_N] = False
    return images.select(rest_N.nonzero()[:, 0]), images.select(held_N)


def held_out(labels_N: Tensor, fraction: float, seed: int) -> Tensor:
    """Return the ascending positions of the images that `split` holds out.

    Raises:
        NetwrightError: the fraction is not between 0 and 1, or a class has one image only.
    """
    if not 0 < fraction < 1:
        raise NetwrightError(f"The fraction of images to hold out must be between 0 and 1, not {fraction}.")
    labels_N = labels_N.cpu()
    single = (labels_N.bincount() == 1).nonzero()[:, 0].tolist()
    if single:
        raise NetwrightError(
            f"A class with one image cannot be split (class numbers: {', '.join(map(str, single[:5]))}). "
            "Add images to it, or remove it."
        )
    count = round(len(labels_N) * fraction)
    return stratified(labels_N, count, derive_seed(seed, "split"), least=1).sort().values


def stratified(labels_N: Tensor, count: int, seed: int, least: int = 0) -> Tensor:
    """Return positions of about `count` images, each class by its share (largest remainders first).

    Of every class at least `least` images are drawn and at least `least` are left; with `least` 0 the count is exact.
    """
    labels_N = labels_N.cpu()
    sizes_K = labels_N.bincount()
    sizes_K = sizes_K[sizes_K > 0]
    shares_K = sizes_K.double() * count / max(len(labels_N), 1)
    quotas_K = shares_K.floor().long()
    largest = (shares_K - quotas_K).sort(descending=True, stable=True).indices
    quotas_K[largest[: count - int(quotas_K.sum())]] += 1
    quotas_K = torch.minimum(quotas_K.clamp(min=least), sizes_K - least)
    members = labels_N.argsort(stable=True).split(sizes_K.tolist())
    drawn = [
        positions[torch.randperm(len(positions), generator=_generator(derive_seed(seed, number)))[:quota]]
        for number, (positions, quota) in enumerate(zip(members, quotas_K.tolist(), strict=True))
    ]
    return torch.cat(drawn) if drawn else torch.empty(0, dtype=torch.int64)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
