"""Batches: every image once, pure in their arguments, and augmented as naive code would do it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from netwright.core.errors import NetwrightError
from netwright.data import Augment, Dataset, ImageSet, Loader, augment_for, calibration_batches, eval_batches
from netwright.data.augment import augmented, resampling
from netwright.data.load import channel_statistics

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def noise(count: int, size: int = 8, classes: int | None = None) -> ImageSet:
    rng = torch.Generator().manual_seed(count)
    images_NCHW = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=rng)
    return ImageSet(images_NCHW, torch.arange(count) % (classes or count))


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 3))
@settings(max_examples=60)
def test_ranks_share_one_permutation_in_equally_many_steps(count: int, batch: int, world: int, epoch: int) -> None:
    images = noise(count, size=1)
    if count < world:
        with pytest.raises(NetwrightError, match="cannot be shared"):
            Loader(images, batch_size=batch, world_size=world, **PLAIN)
        return
    loaders = [Loader(images, batch_size=batch, rank=rank, world_size=world, **PLAIN) for rank in range(world)]
    steps = {loader.steps_per_epoch for loader in loaders}
    assert steps == {max(1, count // (batch * world))}
    seen = [
        label
        for loader in loaders
        for step in range(loader.steps_per_epoch)
        for label in loader.batch(epoch, step, 1)[1].tolist()
    ]
    assert len(seen) == len(set(seen))
    assert len(seen) == steps.pop() * world * min(batch, count // world)


@pytest.mark.parametrize("kind", ["crop", "resized-crop", "none"])
def test_a_batch_depends_on_its_arguments_only(kind: str) -> None:
    def loader(rank: int = 0) -> Loader:
        return Loader(noise(40), batch_size=8, augment=Augment(kind), seed=3, rank=rank, world_size=2, **PLAIN)

    one, other = loader(), loader()
    forward = {(epoch, step): one.batch(epoch, step, 6) for epoch in range(3) for step in range(2)}
    for epoch, step in reversed(forward):
        x, y = other.batch(epoch, step, 6)
        assert x.dtype == torch.float32
        assert x.shape == (8, 3, 6, 6)
        assert torch.equal(x, forward[epoch, step][0])
        assert torch.equal(y, forward[epoch, step][1])
    assert not torch.equal(forward[0, 0][1], forward[1, 0][1])
    assert not set(forward[0, 0][1].tolist()) & set(loader(rank=1).batch(0, 0, 6)[1].tolist())
    torch.manual_seed(0)
    torch.rand(5)  # nor on the global generator
    assert torch.equal(loader().batch(2, 1, 6)[0], forward[2, 1][0])


def test_labels_stay_with_their_images() -> None:
    images = noise(30)
    loader = Loader(images, batch_size=10, **PLAIN)
    x, y = loader.batch(0, 1, 8)
    assert torch.allclose(x * 255, images.images_NCHW[y].float(), atol=1e-3)


def test_crop_is_a_shifted_reflected_flipped_image() -> None:
    images = noise(5, size=8)
    index_B = torch.arange(600) % 5
    out = augmented(images.images_NCHW, index_B, Augment("crop", padding=0.25), 8, torch.Generator().manual_seed(0))
    padded = F.pad(images.images_NCHW.float(), (2, 2, 2, 2), mode="reflect").byte()
    seen = set()
    for picture, index in zip(out, index_B.tolist(), strict=True):
        matches = [
            (top, left, flip)
            for top, left, flip in itertools.product(range(5), range(5), (False, True))
            if torch.equal(picture, crop(padded[index], top, left, flip))
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 50  # every shift, mirrored and not


def crop(padded_CHW: torch.Tensor, top: int, left: int, flip: bool) -> torch.Tensor:
    part = padded_CHW[:, top : top + 8, left : left + 8]
    return part.flip(-1) if flip else part


def test_flip_is_half_of_the_time_or_never() -> None:
    images = noise(1)
    index_B = torch.zeros(2000, dtype=torch.int64)
    for flip, low, high in ((True, 0.45, 0.55), (False, 0, 0)):
        out = augmented(images.images_NCHW, index_B, Augment("none", flip=flip), 8, torch.Generator().manual_seed(1))
        mirrored = (out == images.images_NCHW.flip(-1)).flatten(1).all(1).float().mean()
        assert low <= mirrored <= high
        assert ((out == images.images_NCHW) | (out == images.images_NCHW.flip(-1))).flatten(1).all()


@given(st.integers(2, 24), st.integers(1, 40), st.floats(0.05, 1), st.floats(0, 1))
@settings(max_examples=60)
def test_resampling_is_that_of_pillow(size: int, resolution: int, share: float, place: float) -> None:
    length = max(1.0, share * size)
    start = place * (size - length)
    row = np.random.default_rng(size).random((1, size), dtype=np.float32) * 255
    box = (start, 0, min(start + length, size), 1)
    expected = np.asarray(Image.fromarray(row).resize((resolution, 1), Image.Resampling.BILINEAR, box=box))[0]
    weights_BRS = resampling(torch.tensor([start]), torch.tensor([length]), size, resolution)
    assert np.allclose((weights_BRS[0] @ torch.from_numpy(row[0])).numpy(), expected, atol=0.05)


@pytest.mark.parametrize("resolution", [4, 7, 10, 15])
def test_a_resized_crop_of_everything_is_a_resize(resolution: int) -> None:
    images = noise(4, size=10)
    whole = Augment("resized-crop", flip=False, area=(1, 1), ratio=(1, 1))
    out = augmented(images.images_NCHW, torch.arange(4), whole, resolution, torch.Generator())
    expected = F.interpolate(images.images_NCHW.float(), size=(resolution, resolution), mode="bilinear", antialias=True)
    assert torch.allclose(out, expected, atol=1e-3)


def test_resized_crops_have_the_asked_area_place_and_flip() -> None:
    # A picture whose value is its column (red) or row (green): a crop's corners tell where it was taken.
    size = 64
    ramp = torch.arange(size, dtype=torch.uint8).expand(size, size)
    images_NCHW = torch.stack([ramp, ramp.T, ramp])[None].contiguous()
    augment = Augment("resized-crop", area=(0.3, 0.6), ratio=(0.8, 1.25))
    out = augmented(images_NCHW, torch.zeros(400, dtype=torch.int64), augment, 16, torch.Generator().manual_seed(0))
    # Between the centres of the first and the last pixel lie 15/16 of the crop.
    width_B = (out[:, 0, 8, -1] - out[:, 0, 8, 0]) * 16 / 15
    height_B = (out[:, 1, -1, 8] - out[:, 1, 0, 8]) * 16 / 15
    area_B, ratio_B = (width_B * height_B).abs() / size**2, width_B.abs() / height_B
    assert 0.28 < area_B.min() < 0.34
    assert 0.56 < area_B.max() < 0.62
    assert 0.77 < ratio_B.min() < 0.85
    assert 1.18 < ratio_B.max() < 1.3
    assert 0.4 < (width_B < 0).float().mean() < 0.6
    left_B = out[:, 0, 8].min(1).values
    assert left_B.min() < 6 < 24 < left_B.max()


def test_training_batches_come_out_normalized() -> None:
    images = noise(64)
    mean, std = channel_statistics(images.images_NCHW)
    x, _ = Loader(images, batch_size=64, mean=mean, std=std).batch(0, 0, 8)
    assert x.mean((0, 2, 3)).abs().max() < 1e-3
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-3


def test_statistics_are_those_of_float64() -> None:
    images_NCHW = noise(50).images_NCHW
    mean, std = channel_statistics(images_NCHW)
    values = images_NCHW.double() / 255
    assert mean == tuple(round(value, 4) for value in values.mean((0, 2, 3)).tolist())
    assert std == tuple(round(value, 4) for value in values.std((0, 2, 3), correction=0).tolist())
    assert min(channel_statistics(torch.full((2, 3, 4, 4), 7, dtype=torch.uint8))[1]) > 0


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_eval_batches_keep_the_order(batch_size: int) -> None:
    images = noise(20)
    batches = list(eval_batches(images, resolution=8, batch_size=batch_size, **PLAIN))
    assert torch.cat([y for _, y in batches]).tolist() == list(range(20))
    assert torch.allclose(torch.cat([x for x, _ in batches]) * 255, images.images_NCHW.float(), atol=1e-3)
    assert all(x.shape[1:] == (3, 5, 5) for x, _ in eval_batches(images, resolution=5, **PLAIN))


def dataset(size: int = 8, classes: tuple[str, ...] = ("cat", "dog")) -> Dataset:
    train = noise(200, size, len(classes))
    return Dataset("pets", train, noise(10, size, len(classes)), classes, *channel_statistics(train.images_NCHW))


def test_calibration_batches_are_training_images_of_even_batches() -> None:
    data = dataset()
    batches = calibration_batches(data, resolution=8, images=150, batch_size=64, seed=1)
    assert sorted(map(len, batches)) == [75, 75]
    mean = torch.tensor(data.mean)[:, None, None]
    std = torch.tensor(data.std)[:, None, None]
    known = {image.numpy().tobytes() for image in data.train.images_NCHW}
    restored = ((torch.cat(batches) * std + mean) * 255).round().byte()
    assert len({image.numpy().tobytes() for image in restored} & known) == 150
    again = calibration_batches(data, resolution=8, images=150, batch_size=64, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(batches, again, strict=True))
    assert len(calibration_batches(data, resolution=4)) == 2  # fewer images than asked for: all of them


def test_the_default_augmentation_follows_size_and_kind() -> None:
    assert augment_for(dataset(8)) == augment_for(dataset(96)) == Augment("crop")
    assert augment_for(dataset(97)) == Augment("resized-crop")
    for classes in (("0", "1", "2"), ("0 - zero", "1 - one"), ("A", "B")):
        assert not augment_for(dataset(8, classes)).flip


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": 0}, "batch size"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "Process 2"),
        ({"batch_size": 4, "world_size": 11}, "cannot be shared"),
    ],
)
def test_loader_refuses(settings: dict[str, int], text: str) -> None:
    with pytest.raises(NetwrightError, match=text):
        Loader(noise(10), **settings, **PLAIN)  # pyright: ignore[reportArgumentType]


def test_a_step_or_resolution_that_is_not_there() -> None:
    loader = Loader(noise(10), batch_size=4, **PLAIN)
    with pytest.raises(IndexError):
        loader.batch(0, 2, 8)
    with pytest.raises(NetwrightError, match="resolution"):
        loader.batch(0, 0, 0)
    with pytest.raises(NetwrightError, match="batch size"):
        next(eval_batches(noise(2), resolution=8, batch_size=0, **PLAIN))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kind": "corp"}, "Did you mean 'crop'"),
        ({"padding": 0.6}, "padding"),
        ({"area": (0.5, 0.2)}, "area"),
        ({"ratio": (0.0, 1.0)}, "ratio"),
    ],
)
def test_augment_refuses(settings: dict[str, object], text: str) -> None:
    with pytest.raises(NetwrightError, match=text):
        Augment(**settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", ["crop", "resized-crop"])
def test_ranks_vary_their_images_independently(kind: str) -> None:
    one = noise(1)
    images = ImageSet(one.images_NCHW.expand(64, -1, -1, -1).contiguous(), torch.zeros(64, dtype=torch.int64))
    x_BCHW, other_BCHW = (
        Loader(images, batch_size=32, augment=Augment(kind), rank=rank, world_size=2, **PLAIN).batch(0, 0, 8)[0]
        for rank in (0, 1)
    )
    assert not torch.equal(x_BCHW, other_BCHW)


def test_seeds_shuffle_differently() -> None:
    orders = [Loader(noise(30), batch_size=30, seed=seed, **PLAIN).batch(0, 0, 8)[1].tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
