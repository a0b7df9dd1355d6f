"""Cutting, extracting and calibrating, also for a family of one's own."""

from __future__ import annotations

import copy
import functools
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch
from netwright.models.families import family
from netwright.models.family import Family
from netwright.models.space import SearchSpace
from netwright.nn.block import Block
from netwright.supernet.calibrate import calibrate
from netwright.supernet.cut import shrink_kernel
from netwright.supernet.supernet import Supernet


@dataclass(frozen=True)
class Stem(Block):
    """A block with nothing but `build`; two tensors share one weight, and one buffer is a table."""

    width: int

    def build(self) -> nn.Module:
        return StemModule(self.width)


class StemModule(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.again = self.conv
        self.register_buffer("table", torch.ones(width, 1, 1))
        self.both = [self.conv, self.again]  # a plain list that refers to modules

    def forward(self, x_BCHW):
        return torch.relu(sum(conv(x_BCHW) for conv in self.both)) * self.table


@dataclass(frozen=True)
class Gated(Block):
    """One weight holds two halves, so that a smaller one is the start of either half: more than a leading cut."""

    width: int
    classes: int

    def build(self) -> nn.Module:
        module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        module.add_module("halves", nn.Linear(self.width, 2 * self.width, bias=False))
        module.add_module("glu", nn.GLU())
        module.add_module("classify", nn.Linear(self.width, self.classes))
        return module


def own_blocks(classes: int, arch: Arch) -> dict[str, Block]:
    width = int(arch.widths[0])
    return {"stem": Stem(width), "head": Gated(width, classes)}


def halves(tensor, shape):
    first, second = tensor.chunk(2)
    return torch.cat([first[: shape[0] // 2, : shape[1]], second[: shape[0] // 2, : shape[1]]])


SPACE = SearchSpace(name="own", resolutions=(16, 32), widths=((4, 6, 8),))
OWN = Family(SPACE, functools.partial(own_blocks, 5), rules={"halves.weight": halves})


def own_supernet() -> Supernet:
    supernet = Supernet(OWN)
    with torch.no_grad():
        supernet.net.get_buffer("stem.table").copy_(torch.arange(8.0).view(8, 1, 1))
    return supernet


@pytest.mark.parametrize("width", [4, 6, 8])
def test_own_family_with_a_rule(width):
    supernet, arch = own_supernet(), Arch(16, widths=(width,))
    net = supernet.extract(arch, None)
    x_BCHW = torch.randn(2, 3, 16, 16)
    assert torch.equal(net(x_BCHW), supernet(x_BCHW, arch))
    weight, part = supernet.net.get_parameter("head.halves.weight"), net.get_parameter("head.halves.weight")
    assert torch.equal(part[:width], weight[:width, :width])
    assert torch.equal(part[width:], weight[8 : 8 + width, :width])
    assert net.get_buffer("stem.table").flatten().tolist() == list(range(width))
    stem = net.get_submodule("stem")
    assert stem.again is stem.conv  # what was shared is shared
    assert OWN.macs(arch) == 2 * 8 * 8 * width * 27 + 2 * width**2 + 5 * width


def test_own_family_trains_through_its_rule():
    supernet, arch = own_supernet(), Arch(16, widths=(4,))
    supernet(torch.randn(2, 3, 16, 16), arch).sum().backward()
    grad = supernet.net.get_parameter("head.halves.weight").grad
    active = torch.zeros(16, 8, dtype=torch.bool)
    active[:4, :4] = active[8:12, :4] = True
    assert (grad[~active] == 0).all() and grad[active].any()


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (
            lambda arch: own_blocks(5, Arch(16, widths=(12 - arch.widths[0],))),
            ["stem.table", "(8, 1, 1)", "(4, 1, 1)"],
        ),
        (lambda arch: {f"stem{arch.widths[0]}": Stem(8)}, ["stem4.table", "not in the largest"]),
        (
            lambda arch: {"stem": Stem(8) if arch.widths[0] == 8 else Gated(4, 5)},
            ["stem.halves.weight", "not in the largest"],
        ),
    ],
)
def test_an_impossible_cut_names_the_tensor(blocks, words):
    supernet = Supernet(Family(SPACE, blocks))
    with pytest.raises(NetwrightError) as caught:
        supernet(torch.randn(1, 3, 16, 16), SPACE.smallest())
    assert all(word in str(caught.value) for word in words)


def test_a_rule_that_gives_another_shape_is_named():
    supernet = Supernet(Family(SPACE, functools.partial(own_blocks, 5), rules={"halves.weight": lambda t, shape: t}))
    with pytest.raises(NetwrightError, match=r"head\.halves\.weight.*rule gave \(16, 8\)"):
        supernet(torch.randn(1, 3, 16, 16), SPACE.smallest())


def test_extraction_without_calibration_is_refused():
    supernet = Supernet(family("tiny"))
    arch = supernet.family.space.smallest()
    with pytest.raises(NetwrightError, match="calibration"):
        supernet.extract(arch, None)
    with pytest.raises(NetwrightError, match="no images"):
        supernet.extract(arch, [])


def test_extracted_network_stands_alone():
    """Its weights are copies, it is an nn.Sequential of plain modules, trains, and can be copied and stored."""
    supernet = Supernet(family("tiny", normalization="group"))
    arch = supernet.family.space.smallest()
    net, twin = supernet.extract(arch, None), supernet.extract(arch, None)
    assert not net.training and not any(module.training for module in net.modules())
    shared = {tensor.data_ptr() for tensor in supernet.parameters()} | {
        tensor.data_ptr() for tensor in twin.parameters()
    }
    assert not shared & {tensor.data_ptr() for tensor in net.parameters()}
    assert all(type(tensor) is nn.Parameter and tensor.requires_grad for tensor in net.parameters())
    x_BCHW = torch.randn(2, 3, 32, 32)
    before = net(x_BCHW)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(net(x_BCHW), before)
    handle = twin.get_submodule("stem").register_forward_hook(lambda *_: pytest.fail("another network's hook ran"))
    net(x_BCHW)
    supernet(x_BCHW, arch)
    handle.remove()
    restored = pickle.loads(pickle.dumps(net))  # noqa: S301 - our own bytes
    assert torch.equal(restored(x_BCHW), before)
    assert torch.equal(copy.deepcopy(net)(x_BCHW), before)
    fresh = supernet.family.build(arch)
    assert repr(fresh) == repr(net.train())  # the very same modules as built anew
    assert list(fresh.state_dict()) == list(net.state_dict())


def test_copies_of_a_supernet_are_independent():
    supernet = Supernet(family("tiny")).eval()
    arch = supernet.family.space.smallest()
    x_BCHW = torch.randn(2, 3, 32, 32)
    before = supernet(x_BCHW, arch)
    other = copy.deepcopy(supernet)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    assert torch.equal(supernet(x_BCHW, arch), before)
    assert not torch.equal(other(x_BCHW, arch), before)
    assert torch.equal(pickle.loads(pickle.dumps(supernet))(x_BCHW, arch), before)  # noqa: S301 - our own bytes


def test_mode_reaches_archs_that_ran_before():
    supernet = Supernet(family("tiny"))
    arch = supernet.family.space.smallest()
    statistics = supernet.net.get_buffer("last.norm.running_mean")
    supernet.train()(torch.randn(4, 3, 32, 32), arch)
    moved = statistics.clone()
    assert moved.any()
    supernet.eval()(torch.randn(4, 3, 32, 32), arch)
    assert torch.equal(statistics, moved)


def test_calibration_is_the_average_of_batch_statistics():
    """Against NumPy in float64: mean of the batches' means, and of their unbiased variances."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net[1].running_mean.fill_(9.0)
    batches = [torch.randn(6, 3, 8, 8) * scale + scale for scale in (1.0, 2.0, 5.0)]
    calibrate(net, batches)
    means, variances = [], []
    for x_BCHW in batches:
        y_BCHW = nn.functional.conv2d(x_BCHW.double(), net[0].weight.double(), net[0].bias.double()).detach().numpy()
        means.append(y_BCHW.mean((0, 2, 3)))
        variances.append(y_BCHW.var((0, 2, 3), ddof=1))
    np.testing.assert_allclose(net[1].running_mean, np.mean(means, 0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net[1].running_var, np.mean(variances, 0), rtol=1e-5)
    assert net[1].momentum == 0.1 and not net[1].training


def test_kernel_transform_against_numpy():
    """7x7 to 3x3: the centre times the 25x25 matrix, its centre times the 9x9 matrix."""
    weight = torch.randn(2, 1, 7, 7, dtype=torch.float64)
    matrices = {"w:7to5": torch.randn(25, 25, dtype=torch.float64), "w:5to3": torch.randn(9, 9, dtype=torch.float64)}
    got = shrink_kernel("w", weight, 3, [(7, 5), (5, 3)], matrices)
    for channel in range(2):
        five = matrices["w:7to5"].numpy() @ weight[channel, 0, 1:6, 1:6].numpy().ravel()
        three = matrices["w:5to3"].numpy() @ five.reshape(5, 5)[1:4, 1:4].ravel()
        np.testing.assert_allclose(got[channel, 0].numpy().ravel(), three)


def test_a_block_that_needs_values_is_explained():
    @dataclass(frozen=True)
    class Peeks(Block):
        def build(self) -> nn.Module:
            layer = nn.Linear(3, 3)
            layer.scale = float(layer.weight.detach().abs().max())
            return layer

    supernet = Supernet(Family(SPACE, lambda arch: {"only": Peeks()}))
    with pytest.raises(NetwrightError, match="cannot be built without weights"):
        supernet(torch.randn(1, 3), SPACE.smallest())


def test_smaller_tensors_are_the_leading_part_of_the_largest_ones():
    supernet = Supernet(family("tiny", normalization="group"))
    whole, narrower = supernet.net.state_dict(), 0
    for name, tensor in supernet.cut(supernet.family.space.smallest()).items():
        if tensor.shape[2:] == whole[name].shape[2:]:  # kernels also go through a matrix
            narrower += sum(a < b for a, b in zip(tensor.shape, whole[name].shape, strict=True)) > 1
            assert torch.equal(tensor, whole[name][tuple(map(slice, tensor.shape))]), name
    assert narrower


def test_networks_extracted_after_a_call_have_weights_of_their_own():
    supernet = own_supernet().eval()
    arch = SPACE.largest()
    x_BCHW = torch.randn(2, 3, 16, 16)
    before = supernet(x_BCHW, arch)
    net = supernet.extract(arch, None)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(supernet(x_BCHW, arch), before)


def test_statistics_are_measured_without_dropout():
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1)).train()
    calibrate(net, [torch.ones(4, 1, 2, 2)])
    assert net[1].running_mean.item() == pytest.approx(1) and net[1].running_var.item() == 0
