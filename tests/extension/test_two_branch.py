"""A family whose blocks read two earlier ones goes the whole way, and every promise holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.exactness import differences, trained_like
from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch
from netwright.nn.wiring import BranchedNetwork
from netwright.supernet.supernet import Supernet
from tests.extension.two_branch import two_branch


def archs(made, count: int, seed: int = 0) -> list[Arch]:
    space = made.space
    drawn = [space.decode(genes) for genes in space.sample(np.random.default_rng(seed), count)]
    return [space.smallest(), space.largest(), *drawn]


def trained(made, steps: int = 6) -> Supernet:
    """Return a supernet after a few training steps over random archs."""
    torch.manual_seed(0)
    supernet = Supernet(made)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.05, momentum=0.9)
    targets_B = torch.arange(8) % 4
    for arch in archs(made, steps):
        x_BCHW = torch.randn(8, 3, arch.resolution, arch.resolution) + targets_B.view(8, 1, 1, 1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(supernet(x_BCHW, arch), targets_B).backward()
        optimizer.step()
    return supernet


@pytest.fixture(scope="module", params=["sum", "concatenate"])
def supernet(request):
    return trained(two_branch(join=request.param))


def test_supernet_and_extracted_network_are_equal_also_in_gradients(supernet):
    made = supernet.family
    lively = trained_like(Supernet(made))
    for arch in archs(made, 8, seed=1):
        assert max(differences(lively, arch, torch.randn(4, 3, arch.resolution, arch.resolution))) <= 1e-5
        net = supernet.copy_of(arch).eval()
        assert isinstance(net, BranchedNetwork)
        assert net.state_dict().keys() == made.build(arch).state_dict().keys()
        x_BCHW = torch.randn(2, 3, arch.resolution, arch.resolution)
        assert torch.equal(supernet.eval()(x_BCHW, arch), net(x_BCHW))


def test_calibration_measures_each_network_on_its_own_activations(supernet):
    arch = supernet.family.space.smallest()
    net = supernet.extract(arch, [torch.randn(16, 3, arch.resolution, arch.resolution) + 2])
    shared = supernet.net.get_buffer("fuse.branches.1.norm.running_mean")
    assert not torch.equal(net.get_buffer("fuse.branches.1.norm.running_mean"), shared)


def test_counts_equal_a_real_run():
    from torch.utils.flop_counter import FlopCounterMode

    made = two_branch(join="concatenate")
    for arch in archs(made, 4):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            net = made.build(arch).eval()
            net(torch.empty(1, 3, arch.resolution, arch.resolution))
        assert made.macs(arch) == counter.get_total_flops() // 2
        assert made.params(arch) == sum(parameter.numel() for parameter in net.parameters())


def test_an_arch_of_another_space_is_refused_everywhere(supernet):
    stranger = Arch(32, widths=(1.0,))
    made = supernet.family
    for use in (made.build, made.macs, made.params, made.priced_blocks, supernet.copy_of, supernet.cut):
        with pytest.raises(NetwrightError, match=r"two-branch: depths\[0\]"):
            use(stranger)
    with pytest.raises(NetwrightError, match=r"two-branch: depths\[0\]"):
        supernet(torch.randn(1, 3, 32, 32), stranger)
