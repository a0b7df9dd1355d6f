"""How many networks a search evaluates: never more than was asked for, whatever it is spent on."""

import pytest

from netwright.core.errors import NetwrightError
from netwright.searching.predictor import LEAST
from netwright.specialization.specialize import _shares, _without
from netwright.specialization.spending import Spending


@pytest.mark.parametrize("repeats", [0, 2])
@pytest.mark.parametrize("listed", [1, 5])
@pytest.mark.parametrize("evaluations", [20, 21, 37, 80, 200, 1000])
def test_the_count_asked_for_is_spent_whole_and_never_exceeded(evaluations, listed, repeats):
    found = Spending.of(evaluations, listed, repeats)
    assert found.total == evaluations
    assert found.sample >= LEAST and found.refined >= 1 and found.listed == listed
    assert found.repeated >= 1 if repeats else found.repeated == 0
    assert f"at most {evaluations} evaluations" in found.text()


def test_more_listed_networks_than_the_evaluations_allow_are_refused():
    with pytest.raises(NetwrightError, match="at least 40"):
        Spending.of(20, 10)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_rounds_share_what_there_is(count, rounds):
    shares = _shares(count, rounds)
    assert sum(shares) == count and all(shares) and max(shares, default=0) - min(shares, default=0) <= 1


def test_as_many_new_networks_are_proposed_as_were_asked_for_half_of_them_from_each_end():
    import numpy as np

    genes = np.arange(20).reshape(10, 2)
    known = genes[[0, 9]]
    for count in range(12):
        found = _without(genes, known, count)
        assert len(found) == min(count, 8) == len(np.unique(found, axis=0))
    assert _without(genes, known, 3).tolist() == genes[[1, 2, 8]].tolist()
