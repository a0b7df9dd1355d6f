"""Which architectures exist: sample, mutate, cross over, encode, validate. Knows no torch."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch

Genes = NDArray[np.int64]
Choices = tuple[tuple[float, ...], ...]

OFA_RESOLUTIONS = tuple(range(128, 225, 4))  # Once-for-all's 25 input sizes (arXiv:1908.09791, Section 4.1)


@dataclass(frozen=True)
class SearchSpace:
    """The choices of every position of an `Arch`, in rising order.

    Fields named in `per_block` have one position a block, stage after stage, as many a stage as its greatest
    depth; positions beyond a stage's depth are inactive and hold their first choice in every valid arch, so
    that two archs are equal exactly when their networks are. Once-for-all, arXiv:1908.09791, Section 3.2.

    A *gene* is the index of a choice. Rows of a `Genes` array are archs; columns are `positions` in order:
    resolution, depths, kernels, expansions, widths, heads.

    Raises:
        NetwrightError: choices that are not rising, none at all, a depth of 0, or positions of blocks that there are not.
    """

    name: str
    resolutions: tuple[int, ...]
    depths: Choices = ()
    kernels: Choices = ()
    expansions: Choices = ()
    widths: Choices = ()
    heads: Choices = ()
    per_block: tuple[str, ...] = ("kernels", "expansions")

    def __post_init__(self) -> None:
        self._check("resolutions", 0, self.resolutions)
        for field in ("depths", "kernels", "expansions", "widths", "heads"):
            given = getattr(self, field)
            if not isinstance(given, tuple):
                raise NetwrightError(
                    f"{self.name}: {field} is {given!r}; it takes a tuple with a tuple for each position."
                )
            for index, choices in enumerate(given):
                self._check(field, index, choices)
        for field in ("resolutions", "kernels", "heads"):
            values = self.resolutions if field == "resolutions" else sum(getattr(self, field), ())
            if any(value != int(value) or value < 1 for value in values):
                raise NetwrightError(f"{self.name}: {field} takes whole numbers from 1 on, not {values}.")
        self._check_depths()

    def _check(self, field: str, index: int, choices: tuple[float, ...]) -> None:
        where = field if field == "resolutions" else f"{field}[{index}]"
        numbers = isinstance(choices, tuple) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in choices
        )
        if not numbers or not choices or any(low >= high for low, high in itertools.pairwise(choices)):
            raise NetwrightError(
                f"{self.name}: {where} is {choices!r}; it takes a tuple of at least one choice, each greater than the one before."
            )

    def _check_depths(self) -> None:
        """Refuse depths that are no numbers of blocks, and positions of blocks that no stage has."""
        start, wanted = 0, [field for field in self.per_block if self.depths]
        for stage, depths in enumerate(self.depths):
            has_positions = any(start < len(getattr(self, field)) for field in wanted)
            if any(depth != int(depth) or depth < (1 if has_positions else 0) for depth in depths):
                raise NetwrightError(
                    f"{self.name}: depths[{stage}] is {depths}; it takes whole numbers from 1 on (from 0 on where "
                    f"no position of {', '.join(self.per_block)} is the stage's)."
                )
            start += int(depths[-1])
        for field in wanted:
            if len(getattr(self, field)) > start:
                raise NetwrightError(
                    f"{self.name}: {field} has {len(getattr(self, field))} positions for the {start} blocks of its stages. "
                    "It takes one a block, stage after stage, as many a stage as its greatest depth."
                )

    @functools.cached_property
    def positions(self) -> tuple[tuple[str, int, tuple[float, ...]], ...]:
        """Every position as (field, index within the field, choices)."""
        rows: list[tuple[str, int, tuple[float, ...]]] = [("resolution", 0, self.resolutions)]
        for field in ("depths", "kernels", "expansions", "widths", "heads"):
            rows += [(field, index, choices) for index, choices in enumerate(getattr(self, field))]
        return tuple(rows)

    @functools.cached_property
    def sizes(self) -> Genes:
        """Number of choices of every position."""
        return np.array([len(choices) for _, _, choices in self.positions])

    @functools.cached_property
    def _gates(self) -> Genes:
        """For every position (depth column, least depth gene that activates it); -1 where always active."""
        stages = [(stage, block) for stage, depths in enumerate(self.depths) for block in range(int(max(depths)))]
        rows = []
        for field, index, _ in self.positions:
            if field not in self.per_block or not self.depths:
                rows.append((-1, 0))
                continue
            stage, block = stages[index]
            least = next(gene for gene, depth in enumerate(self.depths[stage]) if depth > block)
            rows.append((1 + stage, least))
        return np.array(rows)

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Return which positions matter: all but those of blocks beyond a stage's depth."""
        column, least = self._gates.T
        return (column < 0) | (genes[:, column] >= least)

    def canonical(self, genes: Genes) -> Genes:
        """Set inactive positions to their first choice."""
        return np.where(self.active(genes), genes, 0)

    def sample(self, rng: np.random.Generator, count: int) -> Genes:
        """Return `count` archs, every position uniform over its choices."""
        return self.canonical(rng.integers(0, self.sizes, size=(count, len(self.sizes))))

    def decode(self, genes: Sequence[int] | Genes) -> Arch:
        """Return the arch of one row of genes."""
        values: dict[str, list[float]] = {}
        for (field, _, choices), gene in zip(self.positions, genes, strict=True):
            values.setdefault(field, []).append(choices[int(gene)])
        resolution = int(values.pop("resolution")[0])
        return Arch(resolution, **{field: tuple(numbers) for field, numbers in values.items()})  # type: ignore[arg-type]

    def encode(self, arch: Arch) -> Genes:
        """Return the genes of a valid arch, one row.

        Raises:
            NetwrightError: the arch is not in this space; the message names field and position.
        """
        genes: list[int] = []
        try:
            for field, tables in self._gene_of:
                values = (arch.resolution,) if field == "resolution" else getattr(arch, field)
                genes += [table[value] for table, value in zip(tables, values, strict=True)]
        except (KeyError, TypeError, ValueError):
            raise self._misfit(arch) from None
        gates = self._gates.tolist()
        if any(
            gene and column >= 0 and genes[column] < least for gene, (column, least) in zip(genes, gates, strict=True)
        ):
            raise NetwrightError(f"{self.name}: positions beyond a stage's depth must hold their first choice.")
        return np.array(genes)

    @functools.cached_property
    def _gene_of(self) -> tuple[tuple[str, list[dict[float, int]]], ...]:
        """For every field the gene of each choice, position by position."""
        tables: dict[str, list[dict[float, int]]] = {"resolution": []}
        tables |= {field: [] for field in ("depths", "kernels", "expansions", "widths", "heads")}
        for field, _, choices in self.positions:
            tables[field].append({choice: gene for gene, choice in enumerate(choices)})
        return tuple(tables.items())

    def _misfit(self, arch: Arch) -> NetwrightError:
        """Return the error that names the first field and position of an arch that are not in this space."""
        expected: dict[str, int] = dict.fromkeys(("depths", "kernels", "expansions", "widths", "heads"), 0)
        for field, index, choices in self.positions:
            values = (arch.resolution,) if field == "resolution" else getattr(arch, field)
            if field != "resolution":
                expected[field] += 1
            if index >= len(values) or values[index] not in choices:
                given = values[index] if index < len(values) else "nothing"
                return NetwrightError(f"{self.name}: {field}[{index}] is {given}; allowed: {list(choices)}.")
        field, count = next((field, count) for field, count in expected.items() if len(getattr(arch, field)) > count)
        return NetwrightError(f"{self.name}: {field} has {len(getattr(arch, field))} values; allowed: {count}.")

    def largest(self) -> Arch:
        """Return the arch with the last choice everywhere: it holds the weights of all others."""
        return self.decode(self.sizes - 1)

    def smallest(self) -> Arch:
        """Return the arch with the first choice everywhere."""
        return self.decode(np.zeros_like(self.sizes))

    def features(self, genes: Genes) -> NDArray[np.float32]:
        """One-hot encode archs for predictors; inactive positions are all zero."""
        active = self.active(genes)
        start = np.cumsum(self.sizes) - self.sizes
        out = np.zeros((len(genes), int(self.sizes.sum())), np.float32)
        rows, positions = np.nonzero(active)
        out[rows, (start + genes)[rows, positions]] = 1
        return out

    def count(self) -> int:
        """Return the exact number of architectures."""
        column, least = self._gates.T
        free = math.prod(int(size) for size, gate in zip(self.sizes, column, strict=True) if gate < 0)
        for stage, depths in enumerate(self.depths):
            free //= len(depths)
            gated = [(int(s), int(at)) for s, c, at in zip(self.sizes, column, least, strict=True) if c == 1 + stage]
            free *= sum(math.prod(s for s, at in gated if at <= gene) for gene in range(len(depths)))
        return free


def small_resolutions(size: int) -> tuple[int, ...]:
    """Return three input sizes up to `size`: 3/4, 7/8 and all of it, in steps of 4 pixels."""
    return tuple(sorted({max(8, round(size * part / 4) * 4) for part in (0.75, 0.875)} | {size}))
