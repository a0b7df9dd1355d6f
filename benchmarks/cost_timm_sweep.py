"""Every network of timm under 200 M parameters, at its own input size, captured and counted without data.

    python benchmarks/cost_timm_sweep.py            # all, about an hour of processor time; goes on where it stopped
    python benchmarks/cost_timm_sweep.py --quick    # every twentieth
    python benchmarks/cost_timm_sweep.py --only 'vit_*'

Multiply-accumulates are held against half of what torch's FlopCounterMode says of the same forward pass. Writes
results/cost_timm_sweep.json and .md; rows done so far lie in runs/cost_timm_sweep.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fnmatch
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.errors import NetwrightError  # noqa: E402 - the checkout first
from netwright.core.json_lines import append_line, read_lines  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.cost.count import count  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402

LARGEST = 200_000_000  # parameters
LIMIT_S = 300  # for one network
Row = dict[str, Any]


class TimeUp(Exception):
    """A network took longer than the limit."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeUp in the main thread after some seconds."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeUp(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sweep_one(name: str) -> Row:
    """Build, capture and count one network; the row has a "status" and, unless that is "captured", a "reason"."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    row: Row = {"name": name}
    try:
        with time_limit(LIMIT_S):
            return row | _measure(name)
    except (NetwrightError, TimeUp) as error:
        return row | {"status": "failed", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - capture promises to raise nothing else: the table must show where it does
        return row | {"status": "failed", "reason": f"not foreseen: {type(error).__name__}: {error}"}


def _measure(name: str) -> Row:
    try:
        module, place = _build(name)
    except Exception as error:  # noqa: BLE001 - whatever a network raises is its reason
        return {"status": "not built", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    params = sum(tensor.numel() for tensor in module.parameters())
    shape = (1, *module.pretrained_cfg["input_size"])  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue]
    row: Row = {"params": params, "input": list(shape), "device": place}
    if params >= LARGEST:
        return row | {"status": "too large", "reason": f"{params / 1e6:.0f} M parameters"}
    started = time.process_time()
    image = torch.empty(shape, device="meta")
    graph = capture(module, image)
    captured = time.process_time()
    counts = count(graph, "fvcore")
    row |= {
        "status": "captured",
        "macs": counts.macs,
        "flops": counts.flops,
        "fvcore": counts.in_convention,
        "ops": len(graph.ops),
        "notes": list(graph.notes),
        "unpriced": {one.kind: round(one.share_of_elements, 6) for one in counts.unpriced},
        "params_counted": counts.params,
        "capture_s": round(captured - started, 3),
        "count_s": round(time.process_time() - captured, 3),
    }
    return row | {"macs_by_torch": _torch_macs(module, image) if place == "meta" else None}


def _build(name: str) -> tuple[nn.Module, str]:
    """Build on the meta device; where a network looks at its own weights meanwhile, with weights."""
    try:
        with torch.device("meta"):
            return timm.create_model(name).eval(), "meta"
    except (RuntimeError, NotImplementedError):
        return timm.create_model(name).eval(), "cpu"


def _torch_macs(module: nn.Module, image: torch.Tensor) -> int | None:
    """Half of what FlopCounterMode counts; None where it fails, without gradients and, since it then fails less, with."""
    for gradients in (False, True):
        with contextlib.suppress(Exception), torch.set_grad_enabled(gradients):
            with FlopCounterMode(display=False) as counter:
                module(image)
            return counter.get_total_flops() // 2
    return None


def run(names: list[str], done: Path, jobs: int) -> list[Row]:
    """Return the rows of all networks, taking those that `done` holds from there and adding the others to it."""
    rows = {row["name"]: row for row in read_lines(done)} if done.exists() else {}
    todo = [name for name in names if name not in rows]
    done.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(sweep_one, name) for name in todo]
        for number, future in enumerate(as_completed(futures), 1):
            row = future.result()
            rows[row["name"]] = row
            append_line(done, row)
            if row["status"] in ("failed", "not built") or number % 25 == 0:
                print(
                    f"{number}/{len(todo)} {time.monotonic() - started:.0f} s {row['name']}: {row['status']} "
                    f"{row.get('reason', '')}",
                    file=sys.stderr,
                    flush=True,
                )
    return [rows[name] for name in names]


def summary(rows: list[Row]) -> Row:
    """Return the totals of a sweep."""
    captured = [row for row in rows if row["status"] == "captured"]
    tried = [row for row in rows if row["status"] in ("captured", "failed")]
    compared = [row for row in captured if row["macs_by_torch"] is not None]
    off = [row for row in compared if abs(row["macs"] - row["macs_by_torch"]) > 1e-3 * row["macs"]]
    seconds = sorted(row["capture_s"] for row in captured)
    return {
        "networks": len(rows),
        "too_large": sum(row["status"] == "too large" for row in rows),
        "not_built": sum(row["status"] == "not built" for row in rows),
        "tried": len(tried),
        "captured": len(captured),
        "captured_share": len(captured) / max(1, len(tried)),
        "without_data": sum(not row["notes"] for row in captured),
        "fully_priced": sum(not row["unpriced"] for row in captured),
        "compared_with_torch": len(compared),
        "equal_to_torch": sum(row["macs"] == row["macs_by_torch"] for row in compared),
        "over_0.1_percent_from_torch": [row["name"] for row in off],
        "params_differ": [row["name"] for row in captured if row["params"] != row["params_counted"]],
        "capture_s_median": seconds[len(seconds) // 2] if seconds else None,
        "capture_s_largest": seconds[-1] if seconds else None,
    }


def main() -> None:
    """Sweep, print and write the results; exit 1 if less than 99 % were captured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every twentieth network")
    parser.add_argument("--only", default="*", help="names that match this pattern")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--state", type=Path, default=ROOT / "runs" / "cost_timm_sweep.jsonl", help="rows done so far")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    names = fnmatch.filter(timm.list_models(), options.only)[:: 20 if options.quick else 1]
    rows = run(names, options.state, options.jobs)
    totals = summary(rows)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "only": options.only,
        "promise": "at least 99 % of the networks that build under 200 M parameters captured",
        "passed": totals["captured_share"] >= 0.99,
        "summary": totals,
        "networks": rows,
    }
    stem = "cost_timm_sweep.quick" if options.quick else "cost_timm_sweep"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _markdown(result: Row) -> str:
    machine, totals, rows = result["environment"], result["summary"], result["networks"]
    lines = [
        f"# Every timm network under 200 M parameters, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, timm {timm.__version__}, one thread a network. Each built and captured",
        "without data at its own input size, batch 1, and its multiply-accumulates held against half of FlopCounterMode's.",
        "",
        "| | |",
        "|---|---|",
        f"| networks in timm | {totals['networks']} |",
        f"| 200 M parameters and more, left out | {totals['too_large']} |",
        f"| do not build | {totals['not_built']} |",
        f"| captured | {totals['captured']} of {totals['tried']} ({totals['captured_share']:.2%}) |",
        f"| of these without data, by shapes alone | {totals['without_data']} |",
        f"| every operation priced | {totals['fully_priced']} |",
        f"| MACs equal to torch's count | {totals['equal_to_torch']} of {totals['compared_with_torch']} |",
        f"| more than 0.1 % from it | {len(totals['over_0.1_percent_from_torch'])} |",
        f"| seconds to capture, median / largest | {totals['capture_s_median']} / {totals['capture_s_largest']} |",
    ]
    problems = [row for row in rows if row["status"] in ("failed", "not built")]
    if problems:
        lines += ["", "Not captured:", "", "| network | | why |", "|---|---|---|"]
        lines += [f"| {row['name']} | {row['status']} | {_cell(row['reason'])} |" for row in problems]
    by_name = {row["name"]: row for row in rows}
    if totals["over_0.1_percent_from_torch"]:
        lines += ["", "More than 0.1 % from torch's count:", "", "| network | MACs | by torch |", "|---|---|---|"]
        lines += [
            f"| {name} | {by_name[name]['macs']:,} | {by_name[name]['macs_by_torch']:,} |"
            for name in totals["over_0.1_percent_from_torch"]
        ]
    unpriced = [row for row in rows if row.get("unpriced")]
    if unpriced:
        lines += [
            "",
            "With operations that nobody priced (share of elements):",
            "",
            "| network | operations |",
            "|---|---|",
        ]
        lines += [f"| {row['name']} | {row['unpriced']} |" for row in unpriced]
    noted = [row for row in rows if row.get("notes")]
    if noted:
        lines += ["", "Captured on random numbers:", "", "| network | why |", "|---|---|"]
        lines += [f"| {row['name']} | {_cell(row['notes'][0])} |" for row in noted]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")[:300]


if __name__ == "__main__":
    main()
