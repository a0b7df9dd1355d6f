"""Caches never keep more bytes than their limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netwright.core.cache import MB, BoundedCache, bounded_cache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 700)), max_size=60))
def test_the_bound_holds_and_the_newest_is_kept(puts):
    cache: BoundedCache[int, bytes] = BoundedCache(1000 / MB, size=len)
    kept: dict[int, bytes] = {}  # what a plain model of the cache holds, oldest first
    for key, size in puts:
        value = bytes(size)
        kept.pop(key, None)
        kept[key] = value
        left = False
        while sum(map(len, kept.values())) > 1000:
            del kept[next(iter(kept))]
            left = True
        assert cache.put(key, value) == left
        assert cache.bytes == sum(map(len, kept.values())) <= cache.limit == 1000
        assert len(cache) == len(kept) and cache.get(key) is value
    for key in range(10):
        assert cache.get(key) is kept.get(key)
    cache.clear()
    assert cache.bytes == len(cache) == 0


def test_what_was_used_stays_and_what_is_too_large_is_not_kept():
    cache: BoundedCache[str, bytes] = BoundedCache(10 / MB, size=len)
    cache.put("a", bytes(5))
    cache.put("b", bytes(5))
    cache.get("a")
    cache.put("c", bytes(5))
    assert cache.get("a") and cache.get("c") and cache.get("b") is None
    cache.put("large", bytes(11))
    assert cache.get("large") is None and cache.bytes == 0


def test_results_of_functions_are_remembered_within_the_bound():
    calls = []

    @bounded_cache(1000 / MB, size=len)
    def make(size: int, *, fill: int = 0) -> bytes:
        calls.append(size)
        return bytes([fill]) * size

    assert make(300) == make(300) and calls == [300]
    assert make(300, fill=1) != make(300) and calls == [300, 300]
    for size in range(300, 400):
        make(size)
        assert make.cache.bytes <= 1000  # type: ignore[attr-defined]
    calls.clear()
    make(300)
    assert calls == [300]  # it had left


def test_the_arena_of_chains_remembers_within_its_bound(monkeypatch):
    from netwright.mcu.price import chain
    from netwright.models.mcunet import mcunet

    made, cache = mcunet(size=48), chain._span.cache
    arch = made.space.largest()
    blocks, shape = made.blocks(arch), (3, arch.resolution, arch.resolution)
    cache.clear()
    expected = chain.chain_memory(blocks, shape)
    assert 0 < cache.bytes <= cache.limit
    cache.clear()
    monkeypatch.setattr(cache, "limit", 50_000)
    assert chain.chain_memory(blocks, shape) == expected
    assert 0 < cache.bytes <= 50_000
    cache.clear()
