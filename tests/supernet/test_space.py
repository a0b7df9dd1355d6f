"""Properties of every SearchSpace, on drawn small spaces and on those that come with netwright."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch
from netwright.models.families import SPACES, family
from netwright.models.space import SearchSpace
from netwright.searching.variation import crossover, mutate

ROOT = Path(__file__).resolve().parents[2]


def rising(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(lambda v: tuple(sorted(v)))


@st.composite
def spaces(draw) -> SearchSpace:
    depths = draw(st.lists(rising([1, 2, 3]), min_size=1, max_size=2))
    blocks = sum(max(d) for d in depths)
    return SearchSpace(
        name="drawn",
        resolutions=draw(rising([24, 28, 32])),
        depths=tuple(depths),
        kernels=tuple(draw(rising([3, 5])) for _ in range(blocks)),
        expansions=tuple(draw(rising([2, 4.5])) for _ in range(blocks)),
        widths=tuple(draw(st.lists(rising([0.5, 1.0]), max_size=1))),
    )


def all_genes(space: SearchSpace) -> np.ndarray:
    """Enumerate by brute force: every combination, made canonical, once."""
    rows = np.array(list(itertools.product(*(range(size) for size in space.sizes))))
    return np.unique(space.canonical(rows), axis=0)


def assert_valid(space: SearchSpace, genes: np.ndarray) -> None:
    assert ((genes >= 0) & (genes < space.sizes)).all()
    assert (space.canonical(genes) == genes).all()


@given(spaces())
def test_count_is_that_of_the_enumeration(space):
    assert space.count() == len(all_genes(space))


@given(spaces())
def test_decode_and_encode_are_inverse_and_one_to_one(space):
    genes = all_genes(space)[:300]
    archs = [space.decode(row) for row in genes]
    assert len(set(archs)) == len(genes)
    for row, arch in zip(genes, archs, strict=True):
        assert (space.encode(arch) == row).all()
        assert Arch.from_json(json.loads(json.dumps(arch.to_json()))) == arch


@given(spaces(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_every_operator_stays_in_the_space(space, seed, probability):
    rng = np.random.default_rng(seed)
    mothers, fathers = space.sample(rng, 20), space.sample(rng, 20)
    mutated = mutate(space, rng, mothers, probability)
    children = crossover(space, rng, mothers, fathers)
    for genes in (mothers, fathers, mutated, children):
        assert_valid(space, genes)
    once = space.canonical(rng.integers(0, space.sizes, size=(20, len(space.sizes))))
    assert (space.canonical(once) == once).all()
    for child, mother, father in zip(children, mothers, fathers, strict=True):
        assert ((child == mother) | (child == father) | (child == 0)).all()


@given(spaces(), st.integers(0, 2**32 - 1))
def test_features_are_one_to_one_and_count_the_active_positions(space, seed):
    genes = np.unique(space.sample(np.random.default_rng(seed), 40), axis=0)
    features = space.features(genes)
    assert features.shape == (len(genes), space.sizes.sum())
    assert len(np.unique(features, axis=0)) == len(genes)
    for row, arch in zip(features, map(space.decode, genes), strict=True):
        always = 1 + len(arch.depths) + len(arch.widths)
        assert row.sum() == always + 2 * sum(arch.depths)  # a kernel and an expansion a block


def test_mutation_reaches_everything_and_probability_zero_nothing():
    space = family("tiny").space
    rng = np.random.default_rng(0)
    genes = space.sample(rng, 2000)
    assert (mutate(space, rng, genes, 0.0) == genes).all()
    mutated = mutate(space, rng, genes, 1.0)
    assert (mutated.max(0) == space.sizes - 1).all() and (mutated.min(0) == 0).all()


@pytest.mark.parametrize("name", SPACES)
def test_spaces_of_netwright(name):
    space = family(name).space
    genes = space.sample(np.random.default_rng(0), 200)
    assert_valid(space, genes)
    assert space.name == name
    assert (genes.max(0) == space.sizes - 1).all() and (genes.min(0) == 0).all()
    assert space.encode(space.largest()).tolist() == (space.sizes - 1).tolist()
    assert space.encode(space.smallest()).tolist() == [0] * len(space.sizes)
    assert [space.encode(space.decode(row)).tolist() for row in genes] == genes.tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": 33}, ["resolution", "33", "28"]),
        ({"kernels": (9, 3, 3, 3, 3, 3)}, ["kernels[0]", "9", "3"]),
        ({"depths": (1, 1)}, ["depths[2]", "nothing"]),
        ({"depths": (1, 1, 1, 1)}, ["depths", "4 values"]),
        ({"heads": (1,)}, ["heads", "1 values"]),
        ({"kernels": (3, 5, 3, 3, 3, 3)}, ["beyond a stage's depth"]),
    ],
)
def test_archs_of_elsewhere_are_refused(change, words):
    space = family("tiny").space
    values = space.smallest().to_json() | {key: list(v) if isinstance(v, tuple) else v for key, v in change.items()}
    with pytest.raises(NetwrightError) as caught:
        space.encode(Arch.from_json(values))
    assert all(word in str(caught.value) for word in words)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_only_our_error_escapes_from_json(values):
    for given_values in (values, {"resolution": values}, {"resolution": 32, "kernels": values}):
        try:
            Arch.from_json(given_values)
        except NetwrightError:
            continue


def test_same_archs_in_every_process():
    """Seeded samples, mutations and the weights cut for them do not depend on the hash seed of the process."""
    program = (
        "import hashlib, numpy as np, torch\n"
        "from netwright.models.families import family\n"
        "from netwright.searching.variation import mutate\n"
        "from netwright.supernet.supernet import Supernet\n"
        "torch.manual_seed(0)\n"
        "supernet = Supernet(family('tiny'))\n"
        "space, rng = supernet.family.space, np.random.default_rng(5)\n"
        "genes = mutate(space, rng, space.sample(rng, 50), 0.3)\n"
        "digest = hashlib.sha256(genes.tobytes())\n"
        "for row in genes[:3]:\n"
        "    arch = space.decode(row)\n"
        "    digest.update(repr((arch, supernet.family.blocks(arch))).encode())\n"
        "    for name, tensor in supernet.copy_of(arch).state_dict().items():\n"
        "        digest.update(name.encode() + tensor.numpy().tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    digests = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolutions": ()}, "resolutions"),
        ({"resolutions": (32, 24)}, r"resolutions is \(32, 24\)"),
        ({"resolutions": (0, 32)}, "resolutions takes whole numbers"),
        ({"depths": ((1, 2), ())}, r"depths\[1\] is \(\)"),
        ({"depths": ((1, 2), (0, 1))}, r"depths\[1\] is \(0, 1\); it takes whole numbers from 1"),
        ({"kernels": ((3, 5), (5, 3), (3, 5), (3, 5))}, r"kernels\[1\] is \(5, 3\)"),
        ({"expansions": ((2, 2), (2, 4), (2, 4), (2, 4))}, r"expansions\[0\] is \(2, 2\)"),
        ({"widths": (0.5, 1.0)}, r"widths\[0\] is 0.5"),
        ({"widths": [(0.5, 1.0)]}, "widths is .* a tuple for each position"),
        ({"kernels": ((3, 5),) * 5}, "kernels has 5 positions for the 4 blocks"),
    ],
)
def test_spaces_of_impossible_choices_are_refused(change, words):
    fine = {"depths": ((1, 2), (1, 2)), "kernels": ((3, 5),) * 4, "expansions": ((2, 4),) * 4, "widths": ((0.5, 1.0),)}
    SearchSpace("mine", **({"resolutions": (24, 32)} | fine))
    with pytest.raises(NetwrightError, match=f"mine: {words}"):
        SearchSpace("mine", **({"resolutions": (24, 32)} | fine | change))


def test_a_stage_without_positions_of_its_own_may_be_left_out():
    """The residual convolutions in the stem of Once-for-all's ResNets."""
    assert (
        SearchSpace("mine", (32,), ((1, 2), (0, 1)), expansions=((2, 4),) * 2, per_block=("expansions",)).count() == 12
    )
