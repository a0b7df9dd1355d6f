"""Batches of normalised images: training batches as a pure function of (epoch, step, resolution), and plain ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.core.errors import NetwrightError
from netwright.core.seeds import derive_seed
from netwright.data.augment import Augment, augmented
from netwright.data.images import Dataset, ImageSet


class Loader:
    """Shuffled, augmented training batches.

    The images stay as bytes on `device` and whole batches are augmented there, so that there is nothing to
    prefetch. `batch` depends on its arguments and the constructor's only: training resumes at any step, and
    the processes 0 ... world_size - 1 see disjoint parts of the same permutation.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device = "cpu",
    ):
        """Prepare the loader; `batch_size` counts the images of one process and step.

        Raises:
            NetwrightError: sizes below 1, a rank outside the world, or fewer images than processes.
        """
        if batch_size < 1:
            raise NetwrightError(f"The batch size must be at least 1, not {batch_size}.")
        if not 0 <= rank < world_size:
            raise NetwrightError(f"Process {rank} is not among the {world_size} of the world (counted from 0).")
        if len(images) < world_size:
            raise NetwrightError(f"{len(images)} images cannot be shared among {world_size} processes.")
        self.batch_size = min(batch_size, len(images) // world_size)
        self.steps_per_epoch = len(images) // (self.batch_size * world_size)
        self._images_NCHW = images.images_NCHW.to(device)
        self._targets = images.wanted.to(device)
        self._mean, self._std = tuple(mean), tuple(std)
        self._augment = augment or Augment("none", flip=False)
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._order: tuple[int, Tensor] | None = None

    def batch(self, epoch: int, step: int, resolution: int) -> tuple[Tensor, Tensor]:
        """Return (images float32 [B, 3, resolution, resolution], their labels or targets) of one step, on the device."""
        if not 0 <= step < self.steps_per_epoch:
            raise IndexError(f"step {step} of {self.steps_per_epoch}")
        start = (step * self._world_size + self._rank) * self.batch_size
        index_B = self._permutation(epoch)[start : start + self.batch_size]
        rng = torch.Generator().manual_seed(derive_seed(self._seed, "augment", epoch, step, self._rank))
        x_BCHW = augmented(self._images_NCHW, index_B, self._augment, resolution, rng)
        return normalized(x_BCHW, self._mean, self._std, resolution), self._targets[index_B.to(self._targets.device)]

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            rng = torch.Generator().manual_seed(derive_seed(self._seed, "shuffle", epoch))
            self._order = (epoch, torch.randperm(len(self._targets), generator=rng))
        return self._order[1]


def eval_batches(
    images: ImageSet,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    resolution: int,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images in their order, as (float32 [B, 3, resolution, resolution], their labels or targets)."""
    if batch_size < 1:
        raise NetwrightError(f"The batch size must be at least 1, not {batch_size}.")
    for start in range(0, len(images), batch_size):
        x_BCHW = images.images_NCHW[start : start + batch_size].to(device)
        yield normalized(x_BCHW, mean, std, resolution), images.wanted[start : start + batch_size].to(device)


def calibration_batches(
    dataset: Dataset,
    *,
    resolution: int,
    images: int = 1024,
    batch_size: int = 128,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[Tensor]:
    """Return training images without augmentation, for BatchNorm statistics: every batch mixes the classes.

    The batches have nearly equal sizes, about `batch_size`, since statistics are averaged over batches.
    """
    subset = dataset.train.take(images, seed)
    count = max(1, round(len(subset) / batch_size))
    chunks = subset.images_NCHW.to(device).tensor_split(count)
    return [normalized(x_BCHW, dataset.mean, dataset.std, resolution) for x_BCHW in chunks]


def normalized(
    x_BCHW: Tensor, mean: Sequence[float], std: Sequence[float], resolution: int, *, scale: float = 255.0
) -> Tensor:
    """Return values 0 to 255 at another height and width (bilinear, antialiased), less the mean, over the deviation.

    `scale`: what `mean` and `std` have as 1.
    """
    if resolution < 1:
        raise NetwrightError(f"The resolution must be at least 1 pixel, not {resolution}.")
    x_BCHW = x_BCHW.float()
    if x_BCHW.shape[-1] != resolution:
        x_BCHW = F.interpolate(x_BCHW, size=(resolution, resolution), mode="bilinear", antialias=True)
    mean_C11 = torch.tensor(mean, device=x_BCHW.device)[:, None, None]
    std_C11 = torch.tensor(std, device=x_BCHW.device)[:, None, None]
    return (x_BCHW - scale * mean_C11).div_(scale * std_C11)
