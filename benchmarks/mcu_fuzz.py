"""Damaged and hostile .tflite files through reading, lowering and planning: only NetwrightError may escape, memory is bounded.

    python benchmarks/mcu_fuzz.py                        # 100,000 files, about ten minutes of processor time; goes on where it stopped
    python benchmarks/mcu_fuzz.py --quick                # 2,000
    python benchmarks/mcu_fuzz.py --models FOLDER        # besides, 1,000 made of every .tflite file of a folder
    python benchmarks/mcu_fuzz.py --build 1500           # besides, C of the accepted among so many, under sanitizers

Most files are small good ones (tests/mcu/fuzz_cases.py) in which numbers that the reader looks at are replaced by extreme,
near or foreign ones; others are cut short or have bits flipped or parts replaced. Warnings count as faults, as do ten
seconds of processor time for one file, and more than 512 MB of address space above what the process had before. Writes
results/mcu_fuzz.json and .md; what is done so far lies in runs/mcu_fuzz.jsonl; what had
faults is done again.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.errors import NetwrightError  # noqa: E402
from netwright.core.json_lines import append_line, read_lines  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.graph.files.tflite import parse_tflite  # noqa: E402
from netwright.mcu.emit.emit import emit  # noqa: E402
from netwright.mcu.lower.lower import lower  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402
from netwright.mcu.schedule.schedule import schedule  # noqa: E402
from tests.mcu.fuzz_cases import Case, case, hostile, read_and_plan, seeds  # noqa: E402
from tests.mcu.simple_cases import inputs_of, wanted  # noqa: E402

CHUNK = 1000
LIMIT_S = 10  # of processor time, for one file
HEADROOM = 512 << 20  # bytes of address space
Row = dict[str, Any]


class TimeUp(Exception):
    """A file took longer than the limit."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise TimeUp(f"took more than {LIMIT_S} s")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM, hard))


def _fault(name: str, error: BaseException) -> Row:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return {
        "case": name,
        "error": f"{type(error).__name__}: {error}"[:200],
        "where": f"{Path(last.filename).name}:{last.lineno}",
    }


def run_cases(what: str, cases: list[tuple[str, Case]]) -> Row:
    """Take files to their plans, in this process, whose memory is limited for good."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _stop)
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    faults: list[Row] = []
    slowest = 0.0
    for seed in seeds():
        read_and_plan(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _limit_memory()
    for name, one in cases:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            outcomes[read_and_plan(one.data)] += 1
        except Exception as error:  # noqa: BLE001 - what escapes is what is looked for
            faults.append(_fault(name, error))
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - start)
        kinds[one.kind] += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {
        "what": what, "cases": len(cases), "outcomes": dict(outcomes), "kinds": dict(kinds), "faults": faults,
        "slowest_s": slowest, "grown_bytes": grown,
    }  # fmt: skip


def run_numbers(what: str, first: int, count: int, file: Path | None) -> Row:
    """Make cases by number, of the seeds or of one file, and run them."""
    files = (file.read_bytes(),) if file else ()
    return run_cases(what, [(f"{what} {number}", case(number, files)) for number in range(first, first + count)])


def run_hostile() -> Row:
    """Run the files that were thought of."""
    return run_cases("thought of", [(one.kind, one) for one in hostile()])


def run_built(first: int, count: int) -> Row:
    """Build C of those small files that are accepted though damaged, and hold it against the interpreter."""
    outcomes: Counter[str] = Counter()
    faults: list[Row] = []
    for number in range(first, first + count):
        data = case(number).data
        try:
            model = parse_tflite(data)
            network = lower(model)
            plan = schedule(network)
        except NetwrightError:
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                emit(network, plan).write(Path(folder))
                inputs = inputs_of(network, np.random.default_rng(number), 3)
                outputs = build_host(Path(folder), sanitize=True, optimize="-O0").run(inputs)
            if (outputs != wanted(model, network, inputs)).any():
                raise AssertionError("C and interpreter differ")
            outcomes["equal"] += 1
        except Exception as error:  # noqa: BLE001 - what escapes is what is looked for
            faults.append(_fault(f"built {number}", error))
    cases = sum(outcomes.values()) + len(faults)
    return {"what": "built", "cases": cases, "outcomes": dict(outcomes), "kinds": {}, "faults": faults, "slowest_s": 0, "grown_bytes": 0}  # fmt: skip


def apart(function: Any, *arguments: Any) -> Row:
    """Run in a process of its own, whose death is a fault."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        died = {"case": str(arguments), "error": "the process died", "where": ""}
        return {"what": str(arguments[0]), "cases": 0, "outcomes": {}, "kinds": {}, "faults": [died], "slowest_s": 0, "grown_bytes": 0}  # fmt: skip


def page_of(rows: list[Row], result: Row) -> str:
    """Return the page of the results."""
    lines = [
        "# Damaged and hostile .tflite files",
        "",
        f"{result['cases']:,} files taken through reading, lowering and planning: {len(result['faults'])} faults. A fault is whatever "
        f"is raised but NetwrightError, a warning, {LIMIT_S} s of processor time for one file, or {HEADROOM >> 20} MB more address space.",
        f"Slowest file {result['slowest_s']:.2f} s; a process's memory grew by {result['grown_bytes'] / 1e6:.0f} MB at most.",
        "",
        "| files | number | refused in reading | in lowering | in planning | planned | C equal to the interpreter | faults |",
        "|---|--|--|--|--|--|--|--|",
    ]
    for what in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == what]
        total: Counter[str] = Counter()
        for row in mine:
            total.update(row["outcomes"])
        cells = [f"{total[stage]:,}" for stage in ("reading", "lowering", "planning", "planned", "equal")]
        faults = sum(len(row["faults"]) for row in mine)
        lines.append(f"| {what} | {sum(row['cases'] for row in mine):,} | {' | '.join(cells)} | {faults} |")
    lines += ["", f"What was done to them: {', '.join(f'{kind} {n:,}' for kind, n in result['kinds'].items())}."]
    lines += [f"- {fault['case']}: {fault['error']} ({fault['where']})" for fault in result["faults"][:30]]
    return "\n".join([*lines, "", f"{result['environment']['processor']}, {result['date']}", ""])


def main() -> None:
    """Run what is not done yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--models", type=Path, help="folder of .tflite files")
    parser.add_argument("--build", type=int, default=0, help="C of those among so many small files that are accepted")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    options = parser.parse_args()
    done = ROOT / "runs" / ("mcu_fuzz.quick.jsonl" if options.quick else "mcu_fuzz.jsonl")
    done.parent.mkdir(exist_ok=True)
    if options.fresh or options.quick:
        done.unlink(missing_ok=True)
    count = 2 * CHUNK if options.quick else options.cases
    tasks: list[tuple[str, Any, tuple[Any, ...]]] = [("thought of", run_hostile, ())]
    tasks += [
        (f"small {i}", run_numbers, ("small ones of every operator", i, CHUNK, None)) for i in range(0, count, CHUNK)
    ]
    for file in sorted(options.models.glob("*.tflite")) if options.models else ():
        tasks += [(f"{file.stem} {i}", run_numbers, (file.stem, i, 500, file)) for i in range(0, 1000, 500)]
    tasks += [(f"built {i}", run_built, (i, 100)) for i in range(0, options.build, 100)]
    finished = {row["task"] for row in read_lines(done) if not row["faults"]}
    for task, function, arguments in tasks:
        if task not in finished:
            row = {"task": task, **apart(function, *arguments)}
            append_line(done, row)
            print(f"{task}: {row['outcomes']}, {len(row['faults'])} faults", file=sys.stderr, flush=True)
    names = {task for task, _, _ in tasks}
    rows = list({row["task"]: row for row in read_lines(done) if row["task"] in names}.values())  # the last of each
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds.update(row["kinds"] if row["what"] != "thought of" else {})
    result = {
        "cases": sum(row["cases"] for row in rows if row["what"] != "built"),
        "faults": [fault for row in rows for fault in row["faults"]],
        "slowest_s": max(row["slowest_s"] for row in rows),
        "grown_bytes": max(row["grown_bytes"] for row in rows),
        "kinds": dict(kinds), "rows": rows, "environment": environment(),
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    save(options.out, "mcu_fuzz.quick" if options.quick else "mcu_fuzz", result, page_of(rows, result))
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
