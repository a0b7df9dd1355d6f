"""Caches that are bounded by the bytes of what they keep."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, ParamSpec, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")

MB = 1 << 20
ENTRY = 1024  # bytes of a small result with its key, where nothing else is said


class BoundedCache(Generic[K, V]):
    """Keeps values up to a number of bytes; those that were not used for longest leave first.

    A single value that is larger than the limit is not kept. For one thread at a time.

    Attributes:
        limit: bytes, at most.
        bytes: bytes of what is kept, by `size`.
    """

    def __init__(self, megabytes: float, size: Callable[[V], int] = lambda _: ENTRY):
        self.limit = int(megabytes * MB)
        self.bytes = 0
        self._size = size
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return a value that is kept, else None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V) -> bool:
        """Keep a value; return whether others had to leave for it."""
        size = self._size(value)
        self.bytes += size - self._kept.pop(key, (None, 0))[1]
        self._kept[key] = (value, size)
        left = False
        while self.bytes > self.limit:
            self.bytes -= self._kept.popitem(last=False)[1][1]
            left = True
        return left

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)


def bounded_cache(
    megabytes: float, size: Callable[[Any], int] = lambda _: ENTRY
) -> Callable[[Callable[P, V]], Callable[P, V]]:
    """Remember the results of a function, as functools.lru_cache does, up to a number of bytes by `size(result)`.

    Arguments must be hashable and the result not None. The cache is the function's attribute `cache`.
    """

    def decorate(function: Callable[P, V]) -> Callable[P, V]:
        cache: BoundedCache[Any, V] = BoundedCache(megabytes, size)

        @functools.wraps(function)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> V:
            key = (args, *kwargs.items()) if kwargs else args
            found = cache.get(key)
            if found is None:
                found = function(*args, **kwargs)
                cache.put(key, found)
            return found

        remembered.cache = cache  # type: ignore[attr-defined]
        return remembered

    return decorate
