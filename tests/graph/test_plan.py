"""Offsets against brute force: nothing alive overlaps, and the exact search finds the smallest block."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graph.memory.lifetimes import Buffer
from netwright.graph.memory.plan import Plan, most_alive, plan
from tests.graph.small_flows import tight_buffers


def check(buffers: Sequence[Buffer], made: Plan) -> None:
    """Paint every byte of every step; none may be painted twice, none beyond the arena."""
    painted = set()
    for buffer, offset in zip(buffers, made.offsets, strict=True):
        for step in range(buffer.first, buffer.last + 1):
            for byte in range(offset, offset + buffer.bytes):
                assert (step, byte) not in painted
                assert 0 <= byte < made.arena_bytes
                painted.add((step, byte))
    assert most_alive(buffers) <= made.lower_bound_bytes <= made.arena_bytes


def smallest(buffers: Sequence[Buffer], limit: int, steps: int) -> int:
    """Return the smallest block under a limit by trying every offset of every buffer; the limit if there is none."""

    def place(index: int, taken: list[int], height: int, best: int) -> int:
        if index == len(buffers):
            return height
        buffer = buffers[index]
        lived = range(buffer.first, buffer.last + 1)
        for offset in range(limit):
            if offset + buffer.bytes >= best:
                break
            cells = ((1 << buffer.bytes) - 1) << offset
            if not any(cells & taken[step] for step in lived):
                new = [held | cells if step in lived else held for step, held in enumerate(taken)]
                best = min(best, place(index + 1, new, max(height, offset + buffer.bytes), best))
        return best

    return place(0, [0] * steps, 0, limit)


def test_exact_search_equals_brute_force() -> None:
    better = above = 0
    for seed in range(100):
        buffers = tight_buffers(seed, 6, steps=6, largest=3)
        greedy, exact = plan(buffers, alignment=1, rounds=0, tries=0), plan(buffers, alignment=1)
        check(buffers, greedy)
        check(buffers, exact)
        assert exact.exact
        assert greedy.lower_bound_bytes <= exact.arena_bytes <= greedy.arena_bytes
        assert smallest(buffers, exact.arena_bytes, 6) == exact.arena_bytes
        better += exact.arena_bytes < greedy.arena_bytes
        above += exact.arena_bytes > most_alive(buffers)
    assert better > 10
    assert above > 0  # the search proved that what is alive at once is not always enough


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 15), st.integers(0, 15)), max_size=40),
    st.sampled_from([1, 4, 16]),
)
def test_no_two_live_buffers_overlap(given_buffers: list[tuple[int, int, int]], alignment: int) -> None:
    buffers = [Buffer(size, min(a, b), max(a, b), (index,)) for index, (size, a, b) in enumerate(given_buffers)]
    made = plan(buffers, alignment=alignment, tries=500)
    check(buffers, made)
    assert all(offset % alignment == 0 for offset in made.offsets)


def test_nothing_to_plan() -> None:
    assert plan([]) == Plan((), 0, 0)
