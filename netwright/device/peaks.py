"""What this machine can do at most: multiply-accumulates a second and bytes a second, measured in a few seconds.

The rate of multiply-accumulates is that of square matrix products; the bandwidth is the best of copying, adding, scaling and
a dot product (as STREAM does, McCalpin 1995), on working sets from within the second cache to beyond the last one. All
are the best of many runs, since what disturbs a run only ever adds.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json, write_json
from netwright.core.run import environment, processor
from netwright.core.torch_internals import int8_product
from netwright.device.energies import HOROWITZ_45NM
from netwright.device.machine import THIS, Level, Machine, Sourced
from netwright.device.store import device_folder

SCHEMA = 1
KIND = "peaks"
SLOWER = 0.9  # with more threads a rate below this times the one with fewer tells of other work
SIDES = (256, 512, 1024)  # of the matrices; small ones end before other work interrupts them
VISIT_S = 0.004
TRIES = 3  # measurements, while one of them says that the machine was busy
MOST_NOISE = 0.1  # difference between the best rates of two halves of the visits
SETS = tuple(2**20 * size for size in (0.75, 3, 12, 48))  # bytes that an operation touches, before the largest
_COMMAND = "netwright device this --measure --peaks"


@dataclass(frozen=True)
class Peaks:
    """Peak rates of one CPU with a number of threads.

    `macs_per_s`: by type. `bytes_per_s`: pairs of working set in bytes and rate, ascending in the first; the last stands for
    main memory where `beyond_cache` is true. `measured`: date, seconds, sizes, environment.
    """

    device: str
    threads: int
    macs_per_s: Mapping[str, float]
    bytes_per_s: tuple[tuple[int, float], ...]
    beyond_cache: bool
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def busy(self) -> str | None:
        """What showed that other work disturbed the measurement, None where nothing did."""
        found = self.measured.get("busy")
        return found if isinstance(found, str) else None

    def together(self, other: Peaks) -> Peaks:
        """Return the better rate of two measurements of the same machine, with the later one's date and doubts.

        What disturbs only ever lowers a rate.
        """
        rates = {name: max(rate, other.macs_per_s.get(name, 0.0)) for name, rate in self.macs_per_s.items()}
        known = dict(self.bytes_per_s)
        moved = tuple((size, max(rate, known.get(size, 0.0))) for size, rate in other.bytes_per_s)
        return replace(other, macs_per_s={**other.macs_per_s, **rates}, bytes_per_s=moved)

    def at_least(self, fewer: Peaks) -> Peaks:
        """Return these rates, none below that with fewer threads: the others can rest. Where one was below, the machine was busy."""
        below = [name for name, rate in fewer.macs_per_s.items() if self.macs_per_s.get(name, rate) < SLOWER * rate]
        known = dict(fewer.bytes_per_s)
        below += [f"{size:,} bytes" for size, rate in self.bytes_per_s if rate < SLOWER * known.get(size, 0.0)]
        raised = fewer.together(self)
        if not below:
            return raised
        text = f"{self.threads} threads were slower than {fewer.threads} ({', '.join(below)})"
        return replace(raised, measured={**raised.measured, "busy": "; ".join(filter(None, [self.busy, text]))})

    def machine(self) -> Machine:
        """Return the machine that has these rates.

        An operation is given the rate of the largest set measured that is no larger than what it touches. A smaller set
        moves no slower than a larger one: where other work disturbed its measurement, it takes the larger one's rate.
        """
        source = f"here, {str(self.measured.get('date', 'no date'))[:10]}"
        fastest = [max(self.bytes_per_s[place:], key=lambda one: one[1]) for place in range(len(self.bytes_per_s))]
        rates = [Sourced(rate, "measured", f"{source}: sweeping {size:,} bytes") for size, rate in fastest]
        sizes = [size for size, _ in self.bytes_per_s]
        notes = () if self.beyond_cache else ("too little free memory to measure beyond the last cache",)
        if self.busy:
            notes += (
                f"the machine was busy when its peaks were measured, so they may be too low and bounds too high: {self.busy}",
            )
        return Machine(
            name=self.device,
            scope=f"{self.threads} thread(s), measured",
            peak_macs_per_s={
                name: Sourced(rate, "measured", f"{source}: matrix product") for name, rate in self.macs_per_s.items()
            },
            bandwidth_bytes_per_s=rates[-1],
            caches=tuple(Level(size, rate) for size, rate in zip(sizes[1:], rates[:-1], strict=True)),
            energy=HOROWITZ_45NM,
            dram_bytes=_memory(),
            notes=notes,
        )


def measure_peaks(threads: int = 1, *, seconds: float = 1.4) -> Peaks:
    """Measure this machine's peak rates with a number of threads, in about so many seconds.

    Raises:
        NetwrightError: more threads than the process may use.
    """
    cores = thread_counts()[-1]
    if not 1 <= threads <= cores:
        raise NetwrightError(f"{threads} threads cannot be measured here: this process may use 1 to {cores}.")
    before, start = torch.get_num_threads(), time.monotonic()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            sets, beyond_cache = _working_sets()
            best, noisy = _best_rates([*_products(), *_sweeps(sets)], start + seconds)
    finally:
        torch.set_num_threads(before)
    return Peaks(
        processor(),
        threads,
        {name: rate for name, rate in best.items() if isinstance(name, str)},
        tuple((size, best[size]) for size in sets),
        beyond_cache,
        {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - start, 2),
            "last_cache_bytes": _last_cache(),
            "environment": environment(),
            "busy": f"two halves of the visits differ ({', '.join(noisy)})" if noisy else None,
        },
    )


def measure_calm(
    threads: int = 1, fewer: Peaks | None = None, *, measure: Callable[[int], Peaks] = measure_peaks
) -> Peaks:
    """Measure peak rates, and again while the machine is found busy, three times at most; the best of all stands.

    `fewer`: what was measured with fewer threads, than which more cannot be slower. Peaks of a machine that stayed busy say so.
    """
    found: Peaks | None = None
    for _ in range(TRIES):
        now = measure(threads)
        found = now if found is None else found.together(now)
        checked = found if fewer is None else found.at_least(fewer)
        if not checked.busy:
            break
    return checked


def thread_counts() -> tuple[int, ...]:
    """Return the numbers of threads that are measured: one, and as many as this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return tuple(sorted({1, cores}))


def peaks_path(threads: int) -> Path:
    """Return where the peaks of this machine are kept, beside its latency models."""
    return device_folder(THIS) / f"peaks-{threads}.json"


def save_peaks(peaks: Peaks) -> Path:
    """Keep peaks where `find_peaks` looks; return the path."""
    path = peaks_path(peaks.threads)
    write_json(path, {"schema": SCHEMA, "kind": KIND} | vars(peaks))
    return path


def find_peaks(threads: int = 1) -> Peaks | None:
    """Return the peaks kept for this machine; None if they were not measured yet.

    Raises:
        NetwrightError: the file is damaged, or of another schema.
    """
    path = peaks_path(threads)
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        if values["kind"] != KIND or values["schema"] != SCHEMA:
            raise ValueError(f"it is {values['kind']!r} of schema {values['schema']!r}")
        if not values["bytes_per_s"]:
            raise ValueError("no bandwidth")
        return Peaks(
            str(values["device"]),
            int(values["threads"]),
            {str(name): _positive(rate) for name, rate in values["macs_per_s"].items()},
            tuple((int(_positive(size)), _positive(rate)) for size, rate in values["bytes_per_s"]),
            bool(values["beyond_cache"]),
            dict(values["measured"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetwrightError(f"{path} does not hold peak rates: {error}. Measure again with `{_COMMAND}`.") from error


def this_machine(threads: int = 1) -> Machine:
    """Return this machine with the peaks that were measured on it.

    Raises:
        NetwrightError: they were not measured yet; the message names the command.
    """
    found = find_peaks(threads)
    if found is None:
        raise NetwrightError(
            f"The peak rates of this machine with {threads} thread(s) were not measured yet. Do it with `{_COMMAND}`."
        )
    return found.machine()


@dataclass(frozen=True)
class _Task:
    """Work of an amount (MACs or bytes) that counts towards the rate of a type or of a working set."""

    rate_of: str | int
    amount: float
    run: Callable[[], object]


def _best_rates(tasks: Sequence[_Task], end: float) -> tuple[dict[str | int, float], list[str]]:
    """Visit all tasks in turn until the time `end`, at least twice, some milliseconds each; return the best rates.

    Returns also what was disturbed: of which rates the best in every other round are far from those in the rounds between.
    """
    halves: tuple[dict[str | int, float], dict[str | int, float]] = ({}, {})
    rounds = 0
    while rounds < 2 or time.monotonic() < end:
        half = halves[rounds % 2]
        for task in tasks:
            rate = task.amount / _least(task.run)
            half[task.rate_of] = max(half.get(task.rate_of, 0.0), rate)
        rounds += 1
    one, other = halves
    best = {name: max(rate, other[name]) for name, rate in one.items()}
    noisy = [name for name, rate in best.items() if min(one[name], other[name]) < (1 - MOST_NOISE) * rate]
    return best, [name if isinstance(name, str) else f"{name:,} bytes" for name in noisy]


def _least(run: Callable[[], object]) -> float:
    best, end = float("inf"), time.perf_counter() + VISIT_S
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best


def _products() -> Iterator[_Task]:
    """Yield matrix products of the types that torch multiplies on this CPU."""
    for name, make in _MAKERS.items():
        for side in SIDES:
            try:
                product = make(side)
                product()
            except (RuntimeError, NotImplementedError):  # no kernel of this type here
                break
            yield _Task(name, side**3, product)


def _float_product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    out = torch.empty(side, side, dtype=dtype)
    return partial(torch.mm, a, b, out=out)


def _integer_product(side: int) -> Callable[[], object]:
    a, b = (torch.randint(-127, 127, (side, side), dtype=torch.int8) for _ in range(2))
    return partial(int8_product, a, b)


_MAKERS: dict[str, Callable[[int], Callable[[], object]]] = {
    "float32": partial(_float_product, dtype=torch.float32),
    "bfloat16": partial(_float_product, dtype=torch.bfloat16),
    "float16": partial(_float_product, dtype=torch.float16),
    "int8": _integer_product,
}


def _sweeps(sets: Sequence[int]) -> Iterator[_Task]:
    """Yield four kernels on each working set: copy, add and scale, scale in place, dot product."""
    memory = torch.empty(max(sets) // 4).zero_()  # zeros stay zeros under all four
    for size in sets:
        count = size // 4
        a, b = memory[: count // 2], memory[count // 2 : count // 2 * 2]
        thirds = memory[: count // 3 * 3].view(3, -1)
        yield _Task(size, size, partial(a.copy_, b))
        yield _Task(size, size, partial(torch.add, thirds[0], thirds[1], alpha=0.5, out=thirds[2]))
        yield _Task(size, 2 * size, partial(memory[:count].mul_, 1.0))
        yield _Task(size, size, partial(torch.dot, a, b))


def _working_sets() -> tuple[tuple[int, ...], bool]:
    """Return the working sets to measure, the last of them larger than the last cache if a quarter of the free memory holds it."""
    wanted = max(_last_cache() or 0, 2**26) * 5 // 4
    allowed = _free_memory() // 4
    largest = min(wanted, allowed)
    return tuple(int(size) for size in SETS if size < largest) + (largest,), wanted <= allowed


def _last_cache() -> int | None:
    """Return the bytes of the last cache of the first core, where Linux tells."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(1024 * int(text[:-1]))
    return max(sizes, default=None)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 2**30


def _memory() -> Sourced | None:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    return Sourced(float(total), "measured", "the operating system")


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < 1e30:
        raise ValueError(f"{value!r} is not a rate")
    return number
