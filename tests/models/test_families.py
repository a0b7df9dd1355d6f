"""The networks of every space: shapes, counts, and the published layouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.errors import NetwrightError
from netwright.models.families import SPACES, family


@pytest.mark.parametrize("name", SPACES)
def test_counts_equal_a_real_run(name):
    """MACs and parameters from the description equal those of the network as built and run on the meta device."""
    made = family(name)
    for genes in made.space.sample(np.random.default_rng(1), 3):
        arch = made.space.decode(genes)
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            net = made.build(arch).eval()
            out = net(torch.empty(1, 3, arch.resolution, arch.resolution))
        assert out.shape == (1, made.settings["classes"])
        assert made.macs(arch) == counter.get_total_flops() // 2
        assert made.params(arch) == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", SPACES)
def test_family_is_made_again_from_its_settings(name):
    made = family(name, classes=7)
    again = family(made.space.name, **made.settings)
    assert again.space == made.space
    assert again.blocks(again.space.largest()) == made.blocks(made.space.largest())


def test_published_sizes():
    """Parameters of the largest networks, and number of archs ("more than 10^19", Once-for-all, Section 3.2)."""
    mobile = family("ofa-mbv3-w1.0")
    assert mobile.space.count() == 25 * sum(9**depth for depth in (2, 3, 4)) ** 5
    largest = mobile.build(mobile.space.largest())
    assert 7.6e6 < sum(parameter.numel() for parameter in largest.parameters()) < 7.7e6
    assert len(mobile.space.resolutions) == 25
    assert family("ofa-resnet50").space.count() == 25 * 2 * 3**6 * sum(3**d for d in (2, 3, 4)) ** 3 * sum(
        3**d for d in (4, 5, 6)
    )


def test_misspelt_names_and_settings():
    with pytest.raises(NetwrightError, match=r"ofa-mbv3-w1\.0"):
        family("ofa-mbv3-w1")
    with pytest.raises(NetwrightError, match="clases"):
        family("vit", clases=3)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("vit", {"normalization": "group"}, "'normalization' is not known.*classes, size"),
        ("tiny", {"size": "32"}, "size is '32'; it takes a whole number"),
        ("tiny", {"size": True}, "size is True; it takes a whole number"),
        ("tiny", {"normalization": "layer"}, "normalization is 'layer'; it takes one of 'batch', 'group'"),
        ("mcunet", {"widths": 0.5}, "widths is 0.5; it takes several of: a number"),
        ("mcunet", {"least": 2.5}, "least is 2.5; it takes a whole number or None"),
    ],
)
def test_settings_of_other_names_and_types_are_refused(name, settings, words):
    with pytest.raises(NetwrightError, match=f"Space '{name}': setting.*{words}"):
        family(name, **settings)


def test_a_family_of_ones_own_by_file_and_by_function(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(
        "from netwright.models.mobilenet import tiny\n\ndef mine(classes: int):\n    return tiny(classes=classes)\n"
    )
    made = family(f"{path}:mine", classes=3)
    assert made.settings["classes"] == 3
    with pytest.raises(NetwrightError, match=r"nets.py:mine': setting classes is 'x'"):
        family(f"{path}:mine", classes="x")
    with pytest.raises(NetwrightError, match="returned a int; it must return a Family"):
        family(lambda: 3)


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_vit_sizes(size):
    made = family("vit", size=size, classes=3)
    arch = made.space.smallest()
    assert made.space.largest().resolution == size
    assert made.build(arch)(torch.randn(2, 3, arch.resolution, arch.resolution)).shape == (2, 3)


def test_a_total_is_the_offset_and_the_prices_of_the_blocks():
    made = family("tiny")
    arch = made.space.smallest()
    assert made.total(arch, lambda block, *shapes: block.macs(*shapes)) == made.macs(arch)
    assert made.total(arch, lambda block, *shapes: 0.5, offset=2.0) == 2 + 0.5 * len(made.priced_blocks(arch))
