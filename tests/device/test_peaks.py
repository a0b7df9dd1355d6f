"""Peak rates of this machine: measured in seconds, kept, and read back."""

import json
import math

import pytest

from netwright.core.errors import NetwrightError
from netwright.device import peaks
from netwright.device.machines import machine
from netwright.device.peaks import Peaks, find_peaks, measure_calm, measure_peaks, save_peaks
from tests.device.machines import Machine

KEPT = Peaks("cpu", 1, {"float32": 5e10}, ((1000, 9e10), (4000, 5e10), (16000, 1e10)), True, {"date": "2026-11-21"})


def test_every_working_set_and_type_gets_a_rate(monkeypatch):
    monkeypatch.setattr(peaks, "_free_memory", lambda: 2**28)  # little memory to sweep: fast
    monkeypatch.setattr(peaks, "SIDES", (128,))
    found = measure_peaks(1, seconds=0.3)
    assert all(0 < rate < math.inf for rate in found.macs_per_s.values()) and "float32" in found.macs_per_s
    sizes = [size for size, _ in found.bytes_per_s]
    assert sizes == sorted(sizes) and sizes[-1] == 2**26  # a quarter of the free memory
    assert all(0 < rate < math.inf for _, rate in found.bytes_per_s)


@pytest.mark.parametrize("last_cache", [None, 2**21, 2**25, 2**27])
@pytest.mark.parametrize("free", [2**27, 2**28, 2**32])
def test_the_largest_working_set_is_beyond_the_last_cache_where_memory_holds_it(monkeypatch, last_cache, free):
    monkeypatch.setattr(peaks, "_last_cache", lambda: last_cache)
    monkeypatch.setattr(peaks, "_free_memory", lambda: free)
    sizes, beyond_cache = peaks._working_sets()
    wanted = max(last_cache or 0, 2**26) * 5 // 4
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] == min(wanted, free // 4)
    assert beyond_cache is (sizes[-1] == wanted)


def test_more_threads_than_cores_are_refused():
    with pytest.raises(NetwrightError, match="1 to "):
        measure_peaks(100_000)


def test_what_is_saved_is_found_again_and_makes_the_machine():
    with pytest.raises(NetwrightError, match="netwright device this --measure"):
        machine("this")
    save_peaks(KEPT)
    assert find_peaks() == KEPT
    one = machine("this")
    assert one.peak("float32").value == 5e10 and one.peak("float32").kind == "measured"
    # a set is given the rate of the largest one measured that is no larger
    assert [one.bandwidth(size).value for size in (10, 4000, 4001, 16000, 16001)] == [9e10, 9e10, 5e10, 5e10, 1e10]
    with pytest.raises(NetwrightError, match="2 thread"):
        machine("this", threads=2)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"schema": 99},
        {"macs_per_s": {"float32": -1}},
        {"macs_per_s": [1]},
        {"bytes_per_s": [[1]]},
        {"bytes_per_s": []},
        {"bytes_per_s": [["a", 1.0]]},
        {"measured": 3},
    ],
)
def test_a_damaged_file_is_named(change):
    path = save_peaks(KEPT)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(NetwrightError, match=r"peaks-1\.json"):
        find_peaks()


def test_a_disturbed_small_set_takes_the_rate_of_the_larger_one():
    peaks = Peaks("cpu", 2, {"float32": 1e11}, ((2**20, 1.5e11), (2**22, 8e8), (2**24, 6e10), (2**28, 2e10)), True)
    known = peaks.machine()
    assert [level.bytes_per_s.value for level in known.caches] == [1.5e11, 6e10, 6e10]
    assert known.bandwidth_bytes_per_s is not None
    assert known.bandwidth_bytes_per_s.value == 2e10


def made_up(monkeypatch, busy, seed=0):
    """Measure the peaks of a made-up machine: two kinds of work on it."""
    made = Machine(busy, seed)
    monkeypatch.setattr(peaks, "time", made.clock)
    monkeypatch.setattr(peaks, "_products", lambda: iter([peaks._Task("float32", 1e6, lambda: made.work(0.1))]))
    monkeypatch.setattr(
        peaks, "_sweeps", lambda sets: iter([peaks._Task(s, s, lambda s=s: made.work(s / 1e7)) for s in sets])
    )
    return made


def in_turn(*found):
    """Return a measurement that finds one after the other."""
    answers = iter(found)
    return lambda threads: next(answers)


def test_a_calm_machine_is_measured_once_and_a_busy_one_again_and_is_marked(monkeypatch):
    made_up(monkeypatch, busy=0.0)
    calm = measure_calm(1)
    assert calm.busy is None and calm.macs_per_s["float32"] == pytest.approx(1e10, rel=1e-3)
    assert calm.machine().notes == KEPT.machine().notes
    made_up(monkeypatch, busy=1.0)
    hurried, counted = measure_peaks(1, seconds=0.0), []
    assert "halves" in hurried.busy
    busy = measure_calm(1, measure=lambda threads: counted.append(threads) or hurried)
    assert len(counted) == peaks.TRIES and busy == hurried
    assert measure_calm(1, measure=in_turn(hurried, calm)).busy is None
    assert any("busy" in note and "bounds" in note for note in busy.machine().notes)
    save_peaks(busy)
    assert find_peaks(1) == busy and find_peaks(1).busy == busy.busy


def test_more_threads_are_never_slower_than_fewer():
    two = Peaks("cpu", 2, {"float32": 3e10}, ((1000, 2e11), (4000, 1e10), (16000, 1e10)), True, {"date": "2026-11-22"})
    counted = []
    found = measure_calm(2, KEPT, measure=lambda threads: counted.append(threads) or two)
    assert len(counted) == peaks.TRIES
    assert "2 threads were slower than 1 (float32, 4,000 bytes)" in found.busy
    assert found.threads == 2 and found.macs_per_s == {"float32": 5e10}
    assert found.bytes_per_s == ((1000, 2e11), (4000, 5e10), (16000, 1e10))
    better = Peaks("cpu", 2, {"float32": 9e10}, two.bytes_per_s[:1] + KEPT.bytes_per_s[1:], True)
    found = measure_calm(2, KEPT, measure=in_turn(two, better))
    assert found.busy is None and found.macs_per_s == {"float32": 9e10}
