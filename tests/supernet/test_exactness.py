"""The supernet and the network extracted from it are the same function, with the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.exactness import check_space, differences, images, trained_like
from netwright.models.families import SPACES, family
from netwright.supernet.supernet import Supernet

GROUPED = ["tiny", "ofa-mbv3-w1.0", "ofa-resnet50"]


@pytest.mark.parametrize("name", SPACES)
def test_supernet_equals_extracted(name):
    row = check_space(name, count=4 if name.startswith("ofa-") else 12, seed=3)
    assert row["output_difference"] <= 1e-5
    assert row["gradient_difference"] <= 1e-5


@pytest.mark.parametrize("name", GROUPED)
def test_with_group_norm(name):
    row = check_space(name, count=2, seed=4, normalization="group")
    assert row["output_difference"] <= 1e-5
    assert row["gradient_difference"] <= 1e-5


def test_large_vit_and_its_position_table():
    supernet = trained_like(Supernet(family("vit", size=112, classes=5)))
    space = supernet.family.space
    for arch in (space.smallest(), space.largest()):
        x_BCHW = images(supernet, arch, batch=2)
        assert max(differences(supernet, arch, x_BCHW)) <= 1e-5


def test_passes_of_several_archs_add_up():
    """The sandwich rule: several archs a step, one after the other, gradients summed."""
    supernet = trained_like(Supernet(family("tiny", normalization="group")))
    space = supernet.family.space
    archs = [space.largest(), space.smallest(), space.decode(space.sample(np.random.default_rng(0), 1)[0])]
    x_BCHW = torch.randn(2, 3, 32, 32)
    single = []
    for arch in archs:
        supernet.zero_grad()
        supernet(x_BCHW, arch).sum().backward()
        single.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in supernet.parameters()])
    supernet.zero_grad()
    sum(supernet(x_BCHW, arch).sum() for arch in archs).backward()
    for parameter, *parts in zip(supernet.parameters(), *single, strict=True):
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(grad, sum(parts), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"), [("ofa-proxyless-w1.3", {}), ("tiny", {}), ("ofa-resnet50", {}), ("vit", {})]
)
@pytest.mark.parametrize("normalization", ["batch", "group"])
def test_sorting_channels_keeps_the_largest_network(name, settings, normalization):
    if name != "vit":
        settings = {"normalization": normalization}
    torch.manual_seed(0)
    supernet = trained_like(Supernet(family(name, **settings)))
    largest, smallest = supernet.family.space.largest(), supernet.family.space.smallest()
    x_BCHW = images(supernet.double(), largest).double()  # in float32 a deep network rounds by 1e-4 in another order
    differences(supernet, largest, x_BCHW)  # leaves fitting statistics behind
    supernet.eval()
    with torch.no_grad():
        before, before_small = supernet(x_BCHW, largest), supernet(x_BCHW, smallest)
        supernet.sort_channels()
        after, after_small = supernet(x_BCHW, largest), supernet(x_BCHW, smallest)
    torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-9 * float(before.abs().max()))
    assert not torch.allclose(before_small, after_small, rtol=1e-2)  # narrower networks now have other channels


def test_sorted_channels_fall_in_importance():
    supernet = Supernet(family("tiny"))
    supernet.sort_channels()
    projections = [weight for name, weight in supernet.net.named_parameters() if name.endswith("project.conv.weight")]
    for weight_OI11 in projections[1:]:  # the first block has no hidden layer of its own
        importance = weight_OI11.abs().sum((0, 2, 3))
        assert (importance.diff() <= 0).all()


def test_gradient_reaches_the_kernel_matrices():
    supernet = Supernet(family("tiny"))
    supernet(torch.randn(2, 3, 32, 32), supernet.family.space.smallest()).sum().backward()
    used = [name for name, matrix in supernet.transforms.items() if matrix.grad is not None]
    assert used and all(name.endswith("5to3") for name in used)
    assert all(supernet.transforms[name].grad.abs().sum() > 0 for name in used)
    supernet.zero_grad()
    supernet(torch.randn(2, 3, 32, 32), supernet.family.space.largest()).sum().backward()
    assert all(matrix.grad is None for matrix in supernet.transforms.values())
