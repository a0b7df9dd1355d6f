"""What the methods choose: pure functions of the seed, inside the space, by the rules of their papers."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.models.space import SearchSpace
from netwright.training.method import sample
from netwright.training.methods.progressive import STAGES
from netwright.training.methods.table import METHODS
from netwright.training.recipe import recipe
from tests.training.small import small_family

SPACE = small_family().space


@pytest.mark.parametrize("name", METHODS)
def test_lessons_are_valid_archs_and_a_function_of_the_generator(name):
    method, settings = METHODS[name], recipe(name)
    for stage in method.stages(SPACE, settings):
        for seed in range(50):
            lessons = method.lessons(SPACE, stage, np.random.default_rng(seed))
            assert lessons == method.lessons(SPACE, stage, np.random.default_rng(seed))
            for lesson in lessons:
                SPACE.encode(lesson.arch)  # raises unless the arch is in the space, in its one form


def test_progressive_stages_widen_what_varies():
    method = METHODS["progressive"]
    stages = method.stages(SPACE, recipe("progressive"))
    assert [stage.name for stage in stages] == ["largest", "kernel", "depth", "width"]
    assert [stage.subnets for stage in stages] == [1, 1, 2, 4]
    assert [stage.distils for stage in stages] == [False, True, True, True]
    assert [stage.sorts_channels for stage in stages] == [False, False, False, True]
    free = [{"resolution"}, {"kernels"}, {"depths"}, {"expansions", "widths"}]
    for number, stage in enumerate(stages):
        seen = {field: set() for field, _, _ in SPACE.positions}
        for seed in range(60):
            for lesson in method.lessons(SPACE, stage, np.random.default_rng(seed)):
                active = [block < depth for depth in lesson.arch.depths for block in range(2)]
                for field in seen:
                    values = getattr(lesson.arch, field)
                    if field in SPACE.per_block:  # what inactive positions hold says nothing
                        seen[field] |= {value for value, counts in zip(values, active, strict=True) if counts}
                    else:
                        seen[field].add(values)
        allowed = set().union(*free[: number + 1])
        assert {field for field, values in seen.items() if len(values) > 1} == allowed


def test_progressive_leaves_out_stages_without_a_choice():
    space = SearchSpace("fixed-kernel", (8,), ((1, 2),), ((3,), (3,)), ((2, 4), (2, 4)))
    stages = METHODS["progressive"].stages(space, recipe("progressive"))
    assert [stage.name for stage in stages] == ["largest", "depth", "width"]
    with pytest.raises(NetwrightError, match=str(len(STAGES))):
        METHODS["progressive"].stages(space, recipe("progressive", stages=(1.0, 2.0)))


def test_sandwich_is_largest_smallest_and_random():
    method, settings = METHODS["sandwich"], recipe("sandwich", subnets_per_step=5)
    (stage,) = method.stages(SPACE, settings)
    lessons = method.lessons(SPACE, stage, np.random.default_rng(0))
    assert [lesson.arch for lesson in lessons[:2]] == [SPACE.largest(), SPACE.smallest()]
    assert [lesson.target for lesson in lessons] == ["labels", *["first"] * 4]
    assert len(lessons) == 5


def test_random_covers_the_choices_evenly():
    method, settings = METHODS["random"], recipe("random", subnets_per_step=4)
    (stage,) = method.stages(SPACE, settings)
    archs = [lesson.arch for seed in range(500) for lesson in method.lessons(SPACE, stage, np.random.default_rng(seed))]
    wide = sum(arch.widths == (1.0,) for arch in archs) / len(archs)
    assert abs(wide - 0.5) < 4 * 0.5 / len(archs) ** 0.5


def test_progressive_trains_no_more_networks_a_step_than_asked_and_all_at_one_resolution():
    method = METHODS["progressive"]
    stages = method.stages(SPACE, recipe("progressive", subnets_per_step=2))
    assert [stage.subnets for stage in stages] == [1, 1, 2, 2]
    steps = [method.lessons(SPACE, stages[-1], np.random.default_rng(seed)) for seed in range(20)]
    assert all(len({lesson.arch.resolution for lesson in lessons}) == 1 for lessons in steps)
    assert len({lessons[0].arch.resolution for lessons in steps}) > 1


@pytest.mark.parametrize("count", [1, 2])
def test_sandwich_of_one_network_is_the_largest(count):
    method = METHODS["sandwich"]
    (stage,) = method.stages(SPACE, recipe("sandwich", subnets_per_step=count))
    lessons = method.lessons(SPACE, stage, np.random.default_rng(0))
    assert [lesson.arch for lesson in lessons] == [SPACE.largest(), SPACE.smallest()][:count]


def test_what_is_not_elastic_is_as_in_the_largest_network():
    largest = SPACE.largest()
    archs = sample(SPACE, ("resolution", "kernels"), np.random.default_rng(0), 20)
    assert {(arch.depths, arch.expansions, arch.widths) for arch in archs} == {
        (largest.depths, largest.expansions, largest.widths)
    }
    assert len({(arch.resolution, arch.kernels) for arch in archs}) > 10
