import numpy as np
import pytest

from netwright.device import timing
from tests.device.machines import Machine

TRUE_MS = np.geomspace(0.05, 20, 12)


def timed(monkeypatch, machine, **settings):
    monkeypatch.setattr(timing, "time", machine.clock)
    tasks = [lambda ms=ms: machine.work(ms) for ms in TRUE_MS]
    return timing.time_programs(tasks, lambda: machine.work(0.05), **settings)


def test_a_calm_machine_is_timed_exactly_and_in_few_rounds(monkeypatch):
    found = timed(monkeypatch, Machine(), seconds=1000)
    np.testing.assert_allclose(found.ms_N, TRUE_MS, rtol=1e-3)
    np.testing.assert_allclose(found.halves_2N, [TRUE_MS, TRUE_MS], rtol=1e-3)
    assert (found.rounds, found.calm, found.unsettled) == (timing.ENOUGH, 1.0, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_busy_machine_the_calm_moments_count(monkeypatch, seed):
    machine = Machine(busy=0.8, seed=seed)
    found = timed(monkeypatch, machine, seconds=1000)
    np.testing.assert_allclose(found.ms_N, TRUE_MS, rtol=1e-3)
    assert found.rounds > timing.ENOUGH and 0 < found.calm < 0.6


def test_time_is_limited_but_some_rounds_are_always_made(monkeypatch):
    machine = Machine(busy=1.0)
    found = timed(monkeypatch, machine, seconds=2)
    assert found.unsettled > 0 and machine.now_ns < 6e9
    assert timed(monkeypatch, Machine(busy=1.0), seconds=0).rounds == timing.LEAST_ROUNDS


def test_progress_ends_at_one(monkeypatch):
    shares = []
    timed(monkeypatch, Machine(busy=0.5), seconds=1000, progress=shares.append)
    assert shares[-1] == 1 and all(0 <= share <= 1 for share in shares)


def test_a_visit_is_calm_only_if_both_of_its_ends_are(monkeypatch):
    """Other work sets in during every second visit, between the two looks at the reference."""
    machine, looks = Machine(), []
    monkeypatch.setattr(timing, "time", machine.clock)

    def reference():
        """Runs 20 times at the start, then three times before and after every visit."""
        visit, turn = divmod(len(looks) - 20, 6)
        looks.append(visit)
        machine.work(0.1 if visit >= 0 and visit % 2 and turn >= 3 else 0.05)

    found = timing.time_programs([lambda: machine.work(1.0)] * 2, reference, seconds=0)
    assert found.calm == pytest.approx(0.5)


def test_doubt_tells_a_busy_machine_from_a_calm_one(monkeypatch):
    assert timed(monkeypatch, Machine(), seconds=1000).doubt() is None
    assert (
        timed(monkeypatch, Machine(busy=0.8), seconds=1000).doubt() is None
    )  # it waited for calm moments, and is exact
    hurried = timed(monkeypatch, Machine(busy=1.0), seconds=0)
    assert "the machine was busy" in hurried.doubt()
    assert f"{hurried.noise:.1%}" in hurried.doubt() and f"{hurried.calm:.0%}" in hurried.doubt()


def test_work_that_goes_on_all_the_time_is_known_by_the_reference(monkeypatch):
    machine = Machine()
    usual_ms = timed(monkeypatch, machine, seconds=1000).reference_ms
    machine.slowdown, machine.until_ns = 1.8, 10**18  # no moment is calm, and all are alike
    found = timed(monkeypatch, machine, seconds=1000)
    assert found.doubt() is None
    assert "1.80 times as long" in found.doubt(usual_ms)
