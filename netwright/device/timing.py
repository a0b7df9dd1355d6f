"""Timing many programs on a machine that other work disturbs.

Programs are visited in rounds of random order, so that a disturbance hits all alike, and the least time over all visits
stands: what disturbs only ever adds. A small reference program runs beside every visit. Where it is slower than it can
be, the machine was busy (work on the other half of a core often costs half of the speed), and rounds go on until every
program has enough visits in calm moments, or the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Job = Callable[[], object]

CALM = 1.06  # a moment is calm while the reference takes at most this times its least time
ENOUGH = 6  # calm visits of a program
VISIT_MS = 2.0
LEAST_ROUNDS = 6
MOST_UNSETTLED = 0.05  # share of the programs; beyond it, or beyond the noise below, timings are called doubtful
MOST_NOISE = 0.05  # the predictions that rest on timings are a few percent off themselves
SLOWER = 1.1  # the reference takes at most this times what it took when the machine was measured


@dataclass(frozen=True)
class Timing:
    """Milliseconds of every program, and of the same programs by two disjoint halves of their visits.

    `calm` is the share of all visits in calm moments, `unsettled` the share of programs with less than two such visits.
    `reference_ms`: the least time of the reference program.
    """

    ms_N: np.ndarray
    halves_2N: np.ndarray
    calm: float
    unsettled: float
    rounds: int
    reference_ms: float = 0.0

    @property
    def noise(self) -> float:
        """The mean difference between the two halves, as a share (0.03 is 3 %)."""
        return float(np.abs(self.halves_2N[0] / self.halves_2N[1] - 1).mean())

    def doubt(self, usual_reference_ms: float | None = None) -> str | None:
        """Return why these timings may be too high, None where nothing speaks against them.

        `usual_reference_ms`: what the reference took when this machine was measured. It tells of work that went on all the
        time, among which no moment was calm.
        """
        slower = self.reference_ms / usual_reference_ms if usual_reference_ms else 1.0
        return doubt(self.calm, self.unsettled, self.noise, slower)


def doubt(calm: float | None, unsettled: float | None, noise: float, slower: float = 1.0) -> str | None:
    """Return why timings may be too high, in words, None where nothing speaks against them.

    Args:
        calm: share of the visits in calm moments; None: unknown.
        unsettled: share of the programs with fewer than two such visits; None: unknown.
        noise: mean difference between two halves of the same timings, as a share.
        slower: how many times as long as usual the reference took.
    """
    if (unsettled or 0.0) <= MOST_UNSETTLED and noise <= MOST_NOISE and slower <= SLOWER:
        return None
    parts = [f"two halves of the same timings differ by {noise:.1%}"]
    if calm is not None and unsettled is not None:
        parts += [
            f"{calm:.0%} of them fell in calm moments",
            f"{unsettled:.0%} of the programs had fewer than two such",
        ]
    if slower > SLOWER:
        parts.append(f"a reference program takes {slower:.2f} times as long as when the machine was measured")
    return f"the machine was busy: {', '.join(parts)}"


def time_programs(
    jobs: Sequence[Job],
    reference: Job,
    *,
    seconds: float,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Timing:
    """Time all jobs interleaved for at most `seconds` (but at least six rounds).

    `progress` is called after every round with the share of the work that is done.
    """
    rng = np.random.default_rng(seed)
    runs = [_runs(job) for job in jobs]
    _least(reference, 20)
    visits: list[list[tuple[float, float]]] = [[] for _ in jobs]  # (ms, ms of the reference), in order
    start, rounds, pending = time.monotonic(), 0, list(range(len(jobs)))
    while pending and (rounds < LEAST_ROUNDS or time.monotonic() - start < seconds):
        for index in rng.permutation(pending):
            visits[index].append(_visit(jobs[index], reference, runs[index]))
        rounds += 1
        calm = _calm_visits(visits)
        pending = [index for index, count in enumerate(calm) if count < ENOUGH]
        if progress is not None:
            progress(min(1.0, max((time.monotonic() - start) / seconds, 1 - len(pending) / len(jobs))))
    calm = _calm_visits(visits)
    return Timing(
        ms_N=np.array([min(ms for ms, _ in rows) for rows in visits]),
        halves_2N=np.array([[min(ms for ms, _ in rows[half::2]) for rows in visits] for half in (0, 1)]),
        calm=sum(calm) / sum(len(rows) for rows in visits),
        unsettled=float(np.mean([count < 2 for count in calm])),
        rounds=rounds,
        reference_ms=min(reference_ms for rows in visits for _, reference_ms in rows),
    )


def _runs(job: Job) -> int:
    job()
    return int(np.clip(VISIT_MS / min(_once(job) for _ in range(3)), 3, 50))


def _visit(job: Job, reference: Job, runs: int) -> tuple[float, float]:
    before = _least(reference, 3)
    job()
    ms = _least(job, runs)
    return ms, max(before, _least(reference, 3))


def _least(job: Job, runs: int) -> float:
    return min(_once(job) for _ in range(runs))


def _once(job: Job) -> float:
    start = time.perf_counter_ns()
    job()
    return (time.perf_counter_ns() - start) / 1e6


def _calm_visits(visits: list[list[tuple[float, float]]]) -> list[int]:
    least = min(reference_ms for rows in visits for _, reference_ms in rows)
    return [sum(reference_ms <= CALM * least for _, reference_ms in rows) for rows in visits]
