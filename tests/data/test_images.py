"""Subsets: disjoint, complete, in the proportions of the classes, the same every time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.data import ImageSet, split
from netwright.data.images import stratified

class_sizes = st.lists(st.integers(2, 40), min_size=1, max_size=6)


def numbered(sizes: list[int], seed: int = 0) -> ImageSet:
    """Return images of which the first two pixels spell their position, with shuffled labels."""
    labels_N = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    labels_N = labels_N[torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(seed))]
    images_NCHW = torch.zeros(len(labels_N), 3, 2, 2, dtype=torch.uint8)
    images_NCHW[:, 0, 0, 0] = (torch.arange(len(labels_N)) % 256).to(torch.uint8)
    images_NCHW[:, 0, 0, 1] = (torch.arange(len(labels_N)) // 256).to(torch.uint8)
    return ImageSet(images_NCHW, labels_N)


def positions(images: ImageSet) -> list[int]:
    pixels = images.images_NCHW[:, 0, 0].long()
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


@given(class_sizes, st.floats(0.01, 0.99), st.integers(0, 5))
def test_split_is_disjoint_complete_and_stratified(sizes: list[int], fraction: float, seed: int) -> None:
    images = numbered(sizes)
    rest, held = split(images, fraction, seed)
    assert sorted(positions(rest) + positions(held)) == list(range(len(images)))
    for part in (rest, held):  # labels travel with their images
        assert part.labels_N.tolist() == images.labels_N[positions(part)].tolist()
    for label, size in enumerate(sizes):
        count = int((held.labels_N == label).sum())
        assert 1 <= count <= size - 1
        # The total is rounded too, so that a class may be two away from its share.
        assert abs(count - size * fraction) < 2
    assert positions(split(images, fraction, seed)[1]) == positions(held)


@given(class_sizes, st.integers(1, 250), st.integers(0, 5))
def test_take_gives_exactly_as_many_by_class(sizes: list[int], count: int, seed: int) -> None:
    images = numbered(sizes)
    subset = images.take(count, seed)
    assert len(subset) == min(count, len(images)) == len(set(positions(subset)))
    for label, size in enumerate(sizes):
        assert abs(int((subset.labels_N == label).sum()) - size * len(subset) / len(images)) < 1


def test_other_seeds_draw_other_images() -> None:
    images = numbered([100, 100])
    assert set(positions(images.take(20, 0))) != set(positions(images.take(20, 1)))
    assert positions(split(images, 0.2, 0)[1]) != positions(split(images, 0.2, 1)[1])


def test_take_mixes_the_classes() -> None:
    images = ImageSet(torch.zeros(400, 3, 2, 2, dtype=torch.uint8), torch.arange(400) // 100)
    first = images.take(100).labels_N[:40]
    assert set(first.tolist()) == {0, 1, 2, 3}


def test_a_class_without_images_is_no_obstacle() -> None:
    labels_N = torch.tensor([0, 0, 2, 2])
    assert sorted(labels_N[stratified(labels_N, 2, seed=0)].tolist()) == [0, 2]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_a_fraction_outside_0_to_1(fraction: float) -> None:
    with pytest.raises(NetwrightError, match="between 0 and 1"):
        split(numbered([4, 4]), fraction)


def test_split_refuses_a_class_with_one_image() -> None:
    with pytest.raises(NetwrightError, match="one image cannot be split"):
        split(numbered([4, 1]), 0.5)


def test_take_refuses_zero() -> None:
    with pytest.raises(NetwrightError, match="at least 1"):
        numbered([4]).take(0)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
)
def test_image_set_refuses_other_shapes_and_types(images: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(NetwrightError, match="must be"):
        ImageSet(images, labels)


def test_what_rounding_leaves_goes_to_the_largest_remainders() -> None:
    assert numbered([8, 2]).take(4).labels_N.bincount().tolist() == [3, 1]  # 3.2 and 0.8
    assert numbered([2, 8]).take(4).labels_N.bincount().tolist() == [1, 3]
