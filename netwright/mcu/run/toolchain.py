"""Compilers, binary tools and the emulator: found, called, and their failures told."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

PACKAGES = {  # Debian's names
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "arm-none-eabi-nm": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-addr2line": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "gcc": "gcc",
    "clang": "clang",
}
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
_SHOWN_LINES = 12
_MACRO = re.compile(r"^\s*#\s*define\s+NET_(INPUT|OUTPUT|ARENA)_BYTES\s+\(?(\d+)[uUlL]*\)?", re.MULTILINE)


def missing(*tools: str) -> str:
    """Return why `tools` cannot be used, or nothing: which are absent, and the Debian packages that hold them."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not absent:
        return ""
    packages = " ".join(dict.fromkeys(PACKAGES.get(tool, tool) for tool in absent))
    return f"{', '.join(absent)} not found on the PATH; on Debian: apt-get install {packages}"


def call(command: Sequence[str | Path], *, stdin: bytes = b"", cwd: Path | None = None, seconds: float = 600) -> bytes:
    """Run a command and return its standard output.

    Raises:
        NetwrightError: it is not installed, failed, or took longer than `seconds`.
    """
    tool = str(command[0])
    if reason := missing(tool):
        raise NetwrightError(f"{reason}.")
    try:
        done = subprocess.run(
            [str(part) for part in command], input=stdin, capture_output=True, cwd=cwd, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise NetwrightError(f"{tool} did not end within {seconds:g} s: {_line(command)}") from None
    if done.returncode != 0:
        told = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise NetwrightError(
            f"{tool} ended with status {done.returncode}: {_line(command)}\n" + "\n".join(told[:_SHOWN_LINES])
        )
    return done.stdout


def _line(command: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in command)


def sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of "input", "output" and "arena" that net.h of a generated directory states.

    Raises:
        NetwrightError: there is no such file, or it does not state them.
    """
    header = directory / "net.h"
    if not header.is_file() or not (directory / "net.c").is_file():
        raise NetwrightError(
            f"{directory} holds no net.h and net.c. Make them with: netwright compile MODEL --out {directory}"
        )
    found = {name.lower(): int(value) for name, value in _MACRO.findall(header.read_text())}
    if absent := {"input", "output", "arena"} - found.keys():
        raise NetwrightError(
            f"{header} does not define NET_{sorted(absent)[0].upper()}_BYTES; compile the network again."
        )
    return found


def harness(name: str) -> Path:
    """Return the path of a file of the measuring harness."""
    return Path(str(resources.files("netwright.mcu.run") / "harness" / name))


def read_inputs(directory: Path, file: Path | None) -> NDArray[np.int8]:
    """Return the inputs in a file as [N, input bytes] of a generated directory's network; without a file, a random one.

    Raises:
        NetwrightError: the file holds no whole number of inputs, or none.
    """
    count = sizes(directory)["input"]
    if file is None:
        return np.random.default_rng(0).integers(-128, 128, (1, count)).astype(np.int8)
    values = np.fromfile(file, np.int8)
    if len(values) == 0 or len(values) % count:
        raise NetwrightError(
            f"{file} has {len(values):,} bytes, which is no whole number of inputs: the network of "
            f"{directory} takes {count:,} bytes of int8 each."
        )
    return values.reshape(-1, count)
