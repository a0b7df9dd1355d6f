"""Plant faults by hand, one at a time, and see whether the tests notice.

    python tools/plant_faults.py [--only WORD] [--again] [--check] [--timeout SECONDS] [--faults FILE] [--out FOLDER]

Each entry of tools/faults.toml says a file, a text in it that is there exactly once, what stands in its place, the tests that should
notice, and what a reader would break by it. The repository is copied, one fault is planted in the copy, and the tests named
run there, until the first fails. What was found is kept in results/planted_faults.json, so that a second call goes on;
results are used again as long as the entry, its file and its tests are the same. Tests that fail without a fault end the
run. Exit status 1: entries out of date (named), or tests that fail by themselves.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", "build", "dist", "runs", "site")
MEASURED_WITH = ("torch", "numpy", "pytest")


@dataclass(frozen=True)
class Fault:
    """One entry of the list; `survives`: the reason why no test can or should notice it."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    breaks: str
    survives: str = ""

    def planted(self, root: Path) -> str:
        """Return the file's text with the fault in it."""
        return (root / self.file).read_text().replace(self.old, self.new)

    def key(self, root: Path) -> str:
        """Return what tells this fault, in this code, under these tests, from all others."""
        parts = [self.file, self.old, self.new, *self.tests]
        for name in (self.file, *(test.partition("::")[0] for test in self.tests)):
            path = root / name
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            parts += [file.read_text() for file in files]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def read_faults(path: Path) -> list[Fault]:
    """Return the entries of a list."""
    entries = tomllib.loads(path.read_text())["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def stale(faults: list[Fault], root: Path) -> list[str]:
    """Return a line for every entry that does not fit the code any more."""
    found = []
    for fault in faults:
        missing = [name for name in (fault.file, *fault.tests) if not (root / name.partition("::")[0]).exists()]
        if missing:
            found.append(f"{fault.breaks}: there is no {missing[0]}")
            continue
        count = (root / fault.file).read_text().count(fault.old)
        if count != 1:
            found.append(f"{fault.breaks}: {fault.file} holds the old text {count} times: {fault.old!r}")
        elif fault.old == fault.new:
            found.append(f"{fault.breaks}: the new text is the old one")
        elif fault.file.endswith(".py"):
            try:
                compile(fault.planted(root), fault.file, "exec")
            except SyntaxError as error:
                found.append(f"{fault.breaks}: with the fault, {fault.file} is no Python: {error}")
    return found


def run_tests(copy: Path, tests: tuple[str, ...], timeout: float) -> tuple[str, str]:
    """Return "passed", "failed", "timed out" or "broken", and the line that says so."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "timed out", f"still running after {timeout:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))]
    said = (lines or done.stdout.splitlines() or done.stderr.splitlines() or [""])[-1]
    said = said.replace(str(copy), "")[:200]
    # 1: a test failed; 2: a file of tests could not be imported; 4, 5: the command itself is wrong, or nothing was run.
    return {0: "passed", 1: "failed", 2: "failed"}.get(done.returncode, "broken"), said


class Planting:
    """The copy of the repository, and what was found in it so far."""

    def __init__(self, copy: Path, out: Path, timeout: float):
        self.copy, self.out, self.timeout = copy, out, timeout
        self.sound: set[tuple[str, ...]] = set()
        kept = out / "planted_faults.json"
        self.found: dict[str, Any] = json.loads(kept.read_text())["found"] if kept.exists() else {}

    def check_sound(self, tests: tuple[str, ...]) -> None:
        """End the program if tests fail without a fault."""
        if tests not in self.sound:
            outcome, said = run_tests(self.copy, tests, self.timeout)
            if outcome != "passed":
                sys.exit(f"{' '.join(tests)} {outcome} without a fault: {said}")
            self.sound.add(tests)

    def plant(self, fault: Fault) -> dict[str, Any]:
        """Return what the tests say to a fault."""
        self.check_sound(fault.tests)
        path = self.copy / fault.file
        sound = path.read_text()
        started = time.monotonic()
        try:
            path.write_text(fault.planted(self.copy))
            outcome, said = run_tests(self.copy, fault.tests, self.timeout)
        finally:
            path.write_text(sound)
        if outcome == "broken":
            sys.exit(f"{fault.breaks}: the tests could not be run: {said}")
        return {
            "file": fault.file,
            "breaks": fault.breaks,
            "tests": list(fault.tests),
            "noticed": outcome != "passed",
            "by": said if outcome != "passed" else "",
            "seconds": round(time.monotonic() - started, 1),
        }


def page(faults: list[Fault], found: list[dict[str, Any]], about: dict[str, str]) -> str:
    """Return the results as Markdown."""
    noticed = sum(one["noticed"] for one in found)
    rooms: dict[str, list[bool]] = {}
    for one in found:
        rooms.setdefault("/".join(one["file"].split("/")[:2]), []).append(one["noticed"])
    lines = ["# Planted faults", "", ", ".join(about.values()) + ".", ""]
    share = 100 * noticed / max(1, len(found))
    lines += [f"{noticed} of {len(found)} faults were noticed ({share:.1f} %); {len(faults)} are listed.", ""]
    lines += ["| where | faults | noticed |", "|---|---|---|"]
    lines += [f"| {room} | {len(all_of)} | {sum(all_of)} |" for room, all_of in sorted(rooms.items())]
    reasons = {(fault.file, fault.breaks): fault.survives for fault in faults}
    survivors = [one for one in found if not one["noticed"]]
    lines += ["", "## Not noticed", ""] if survivors else []
    for one in survivors:
        reason = reasons.get((one["file"], one["breaks"])) or "no reason is given"
        lines.append(f"- {one['file']}: {one['breaks']}. {reason[:1].upper()}{reason[1:]}.")
    lines += ["", "## All", "", "| file | fault | noticed by |", "|---|---|---|"]
    lines += [f"| {one['file']} | {one['breaks']} | {_cell(one)} |" for one in found]
    return "\n".join(lines) + "\n"


def _cell(one: dict[str, Any]) -> str:
    return one["by"].replace("|", "\\|") if one["noticed"] else "nothing"


def about() -> dict[str, str]:
    """Return machine, versions and date."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in MEASURED_WITH)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "date": datetime.date.today().isoformat(),
    }


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def main() -> None:
    """Plant what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=Path, default=ROOT / "tools" / "faults.toml")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--only", default="", help="faults whose file or description holds this word")
    parser.add_argument("--again", action="store_true", help="plant also those whose result is known")
    parser.add_argument("--check", action="store_true", help="only look whether every entry fits the code")
    parser.add_argument(
        "--timeout", type=float, default=600, help="seconds for the tests of one fault; a hang is noticed"
    )
    asked = parser.parse_args()
    root: Path = asked.root.resolve()
    faults = read_faults(asked.faults)
    if wrong := stale(faults, root):
        sys.exit("Out of date:\n" + "\n".join(wrong))
    if asked.check:
        print(f"{len(faults)} faults fit the code.")
        return
    with tempfile.TemporaryDirectory(prefix="planted-faults-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        planting = Planting(copy, asked.out, asked.timeout)
        keys = {fault: fault.key(root) for fault in faults}
        planting.found = {key: planting.found[key] for key in keys.values() if key in planting.found}
        for number, fault in enumerate(faults, 1):
            known = keys[fault] in planting.found and not asked.again
            if not known and asked.only in f"{fault.file} {fault.breaks}":
                result = planting.found[keys[fault]] = planting.plant(fault)
                verdict = "noticed" if result["noticed"] else "NOT noticed"
                print(f"{number}/{len(faults)} {verdict} in {result['seconds']} s: {fault.breaks}", flush=True)
                kept = {**about(), "found": planting.found}
                write(asked.out / "planted_faults.json", json.dumps(kept, indent=1) + "\n")
        found = [planting.found[key] for key in keys.values() if key in planting.found]
        write(asked.out / "planted_faults.md", page(faults, found, about()))
    print(f"{sum(one['noticed'] for one in found)} of {len(found)} noticed; see {asked.out / 'planted_faults.md'}")


if __name__ == "__main__":
    main()
