"""Which block sits in each slot of a network, for every choice of the genes that slot depends on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.seeds import derive_seed
from netwright.models.family import Family
from netwright.models.space import Genes

Columns = tuple[int, ...]
Key = tuple[Any, ...]  # (block, input shape, ...)

LARGEST_SLOT = 50_000
_CHECKS = 32
_ABSENT = 0
_UNKNOWN = -1


class Layout:
    """The slots of a family: one a block name of the largest arch.

    Few genes decide what a slot holds (resolution, depth of its stage, its own kernel size and expansion), so the
    blocks of all 1e19 networks of a space are a few small arrays. The genes are found by changing one at a time;
    while the arrays are filled, and on random archs, every decoded network is compared with them.

    Attributes: `names`; `columns`, the genes each slot depends on; `keys`, the distinct (block, input shape, ...), with
    None first for "no block"; `ids`, for each slot an array over its genes' choices of positions in `keys`;
    `branches`, whether a block of any network that was seen reads others than the one before.
    """

    def __init__(self, family: Family):
        self.family = family
        self.sizes = family.space.sizes
        self.names = tuple(placed.name for placed in family.priced_blocks(family.space.largest()))
        self.keys: list[Key | None] = [None]
        self._id_of: dict[Key, int] = {}
        self.branches = False
        rng = np.random.default_rng(derive_seed("layout", family.space.name))
        checks = family.space.sample(rng, _CHECKS)
        bases = [self.sizes - 1, checks[0], checks[1]]
        for _ in range(6):  # an arch that does not fit shows which dependency was missed: probe around it
            self.columns = self._probe(bases)
            misfit = self._fill() or self._visit(checks)
            if misfit is None:
                return
            slot, base = misfit
            bases.append(base)
        raise NetwrightError(
            f"The cost of block {self.names[slot]!r} of space {family.space.name!r} cannot be tabulated: it changes with "
            "positions whose effect does not show when one is changed at a time. Make the block depend on fewer positions."
        )

    def _decode(self, genes: Genes) -> list[int]:
        """Return for each slot the position in `keys` of what one arch has there."""
        space = self.family.space
        found = {}
        for placed in self.family.priced_blocks(space.decode(space.canonical(genes[None])[0])):
            key = placed.key
            self.branches |= bool(placed.reads)
            number = self._id_of.get(key)
            if number is None:
                number = self._id_of[key] = len(self.keys)
                self.keys.append(key)
            found[placed.name] = number
        row = [found.pop(name, _ABSENT) for name in self.names]
        if found:
            raise NetwrightError(
                f"Space {self.family.space.name!r}: block {next(iter(found))!r} is not among those of the largest arch. "
                "A smaller arch must use a subset of its block names."
            )
        return row

    def _probe(self, bases: Sequence[Genes]) -> tuple[Columns, ...]:
        """Return for each slot the genes that change it when changed alone.

        All choices are tried at the first and at later, misfitting bases; one other choice at the two random ones.
        """
        depends = np.zeros((len(self.names), len(self.sizes)), bool)
        for number, base in enumerate(bases):
            reference = np.array(self._decode(base))
            for column, size in enumerate(self.sizes):
                others = [gene for gene in range(size) if gene != base[column]]
                for gene in others[-1:] if number in (1, 2) else others:
                    changed = base.copy()
                    changed[column] = gene
                    depends[:, column] |= np.array(self._decode(changed)) != reference
        return tuple(tuple(np.flatnonzero(row).tolist()) for row in depends)

    def _fill(self) -> tuple[int, Genes] | None:
        """Fill `ids`; return a slot and an arch that contradict the dependencies, if any."""
        dims = [tuple(int(self.sizes[column]) for column in columns) for columns in self.columns]
        for name, shape in zip(self.names, dims, strict=True):
            if math.prod(shape) > LARGEST_SLOT:
                raise NetwrightError(
                    f"The cost of block {name!r} of space {self.family.space.name!r} cannot be tabulated: it depends "
                    f"on {len(shape)} positions with {math.prod(shape):,} combinations (at most {LARGEST_SLOT:,})."
                )
        self.ids: list[NDArray[np.int64]] = [np.full(shape, _UNKNOWN) for shape in dims]
        order = sorted(range(len(dims)), key=lambda slot: -math.prod(dims[slot]))
        for slot in order:
            while (self.ids[slot] == _UNKNOWN).any():
                misfit = self._visit(self._cover(slot, order))
                if misfit is not None:
                    return misfit
        return None

    def _visit(self, rows: Genes) -> tuple[int, Genes] | None:
        """Decode archs into `ids`; return the first slot and arch that contradict what is known."""
        for genes in rows:
            for slot, number in enumerate(self._decode(genes)):
                at = tuple(genes[list(self.columns[slot])])
                if self.ids[slot][at] not in (_UNKNOWN, number):
                    return slot, genes
                self.ids[slot][at] = number
        return None

    def _cover(self, slot: int, order: Sequence[int]) -> Genes:
        """Return archs that visit every unknown entry of one slot, and with them as many of the others as fit."""
        columns = list(self.columns[slot])
        entries = np.argwhere(self.ids[slot] == _UNKNOWN)
        rows = np.zeros((len(entries), len(self.sizes)), np.int64)
        rows[:, columns] = entries
        assigned = set(columns)
        for other in order:
            free = [column for column in self.columns[other] if column not in assigned]
            if not free:
                continue
            fixed = [column for column in self.columns[other] if column in assigned]
            choice = _rank_in_group(rows[:, fixed]) % math.prod(int(self.sizes[column]) for column in free)
            rows[:, free] = np.stack(np.unravel_index(choice, self.sizes[free]), 1)
            assigned.update(free)
        return rows


def _rank_in_group(rows: Genes) -> Genes:
    """Return for each row how many equal rows come before it."""
    counters: dict[bytes, itertools.count[int]] = {}
    return np.array([next(counters.setdefault(row.tobytes(), itertools.count())) for row in rows], np.int64)
