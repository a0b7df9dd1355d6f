"""Random crops and flips of whole batches, as tensor operations on any device.

Random numbers are drawn on the CPU, so that a batch is the same on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError, unknown
from netwright.data.images import Dataset

KINDS = ("crop", "resized-crop", "none")


@dataclass(frozen=True)
class Augment:
    """How training images are varied.

    Attributes:
        kind: "crop": shifted by up to `padding` of height and width, mirrored at the border (He et al., arXiv:1512.03385,
            with reflection for zeros); "resized-crop": a part of random area and aspect ratio, scaled to the whole
            (Szegedy et al., arXiv:1409.4842); "none".
        flip: mirrored left to right, half of the time (with either kind, also "none").
        padding: of "crop", as a fraction of height and width.
        area: of "resized-crop", smallest and largest fraction of the image.
        ratio: of "resized-crop", smallest and largest width / height.
    """

    kind: str = "crop"
    flip: bool = True
    padding: float = 0.125
    area: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("Augmentation", self.kind, KINDS)
        if not 0 <= self.padding <= 0.5:
            raise NetwrightError(
                f"Augment.padding is a fraction of height and width from 0 to 0.5, not {self.padding}."
            )
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise NetwrightError(f"Augment.area holds two ascending fractions above 0, at most 1, not {self.area}.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise NetwrightError(f"Augment.ratio holds two ascending positive numbers, not {self.ratio}.")


def augment_for(dataset: Dataset) -> Augment:
    """Return the usual augmentation: crops up to 96 pixels, resized crops above; characters are never mirrored.

    A dataset shows characters when the first word of every class name is one character, as in "7" or "7 - seven".
    """
    characters = all(len(name.split(" ")[0]) == 1 for name in dataset.classes)
    return Augment(kind="crop" if dataset.train.size <= 96 else "resized-crop", flip=not characters)


def augmented(images_NCHW: Tensor, index_B: Tensor, augment: Augment, resolution: int, rng: torch.Generator) -> Tensor:
    """Return a varied batch [B, 3, H, W] with values 0 to 255.

    Bytes of the stored size for "crop" and "none"; float32 of `resolution` x `resolution` for "resized-crop".
    """
    if augment.kind == "resized-crop":
        return _resized_crop(images_NCHW, index_B, augment, resolution, rng)
    return _crop(images_NCHW, index_B, augment, rng)


def _crop(images_NCHW: Tensor, index_B: Tensor, augment: Augment, rng: torch.Generator) -> Tensor:
    """Gather the shifted, mirrored images: shift, reflection at the border and flip are all in the positions."""
    size, device = images_NCHW.shape[-1], images_NCHW.device
    most = round(size * augment.padding) if augment.kind == "crop" else 0
    shift_2B = torch.randint(-most, most + 1, (2, len(index_B)), generator=rng)
    flip_B = torch.rand(len(index_B), generator=rng) < (0.5 if augment.flip else 0.0)
    place_2BS = _reflect(shift_2B[:, :, None] + torch.arange(size), size)
    place_2BS[1] = torch.where(flip_B[:, None], place_2BS[1].flip(-1), place_2BS[1])
    # Whole rows first, then columns within them: seven times as fast as one indexing by pixel.
    channel_B3 = index_B[:, None] * 3 + torch.arange(3)
    row_R = (channel_B3[:, :, None] * size + place_2BS[0][:, None, :]).flatten().to(device)
    x_BCHW = images_NCHW.view(-1, size).index_select(0, row_R).view(-1, 3, size, size)
    return x_BCHW.gather(3, place_2BS[1].to(device)[:, None, None, :].expand_as(x_BCHW))


def _reflect(place: Tensor, size: int) -> Tensor:
    """Mirror positions outside 0 ... size - 1 at the border pixel."""
    return size - 1 - (size - 1 - place.abs()).abs()


def _resized_crop(
    images_NCHW: Tensor, index_B: Tensor, augment: Augment, resolution: int, rng: torch.Generator
) -> Tensor:
    """Resample each axis by a matrix: crop, scaling without aliasing, and flip are two batched products."""
    count, size, device = len(index_B), images_NCHW.shape[-1], images_NCHW.device
    area_B, ratio_B, left_B, top_B, flip_B = torch.rand(5, count, generator=rng)
    area_B = augment.area[0] + (augment.area[1] - augment.area[0]) * area_B
    low, high = math.log(augment.ratio[0]), math.log(augment.ratio[1])
    ratio_B = torch.exp(low + (high - low) * ratio_B)
    width_B, height_B = (area_B * ratio_B).sqrt().clamp(max=1), (area_B / ratio_B).sqrt().clamp(max=1)
    columns_BRS = resampling(left_B * (1 - width_B) * size, width_B * size, size, resolution)
    rows_BRS = resampling(top_B * (1 - height_B) * size, height_B * size, size, resolution)
    mirrored_B = (flip_B < 0.5) & augment.flip
    columns_BRS = torch.where(mirrored_B[:, None, None], columns_BRS.flip(1), columns_BRS)
    x_BCHW = images_NCHW[index_B.to(device)].float()
    x_BCHW = x_BCHW.flatten(1, 2).bmm(columns_BRS.to(device).mT).view(count, 3, size, resolution)
    return rows_BRS.to(device)[:, None] @ x_BCHW


def resampling(start_B: Tensor, length_B: Tensor, size: int, resolution: int) -> Tensor:
    """Return weights [B, resolution, size] that resample parts of an axis of `size` pixels to `resolution` pixels.

    Triangles as wide as an output pixel or an input pixel, whichever is larger: bilinear with antialiasing.
    """
    scale_B11 = (length_B / resolution)[:, None, None]
    centre_BR1 = start_B[:, None, None] + (torch.arange(resolution)[:, None] + 0.5) * scale_B11
    distance_BRS = (torch.arange(size) + 0.5 - centre_BR1).abs() / scale_B11.clamp(min=1)
    weights_BRS = (1 - distance_BRS).clamp(min=0)
    return weights_BRS / weights_BRS.sum(2, keepdim=True)
