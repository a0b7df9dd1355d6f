"""The generated C on an emulated Cortex-M: its outputs, the instructions it executes, its stack, its flash.

Instructions are exact: under QEMU's -icount each takes 2^8 ns of virtual time, several ticks of the board's clock, so
that ticks round to whole instructions. They are not cycles: the emulator models neither pipeline nor caches nor wait
states.
"""

from __future__ import annotations

import string
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.mcu.run.host import check_inputs
from netwright.mcu.run.toolchain import WARNINGS, call, harness, missing, sizes

TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
OPTIMIZATIONS = ("-O1", "-O2", "-O3", "-Os")
ICOUNT_SHIFT = 8  # 2^8 ns an instruction, at least 5 ticks: a difference of two differences is wrong by 2 at most
KNOWN_INSTRUCTIONS = 1_000_002  # of the function that calibrates the clock, see harness/emulated.c
CLOCK_ROUND = (1 << 32) - 1  # ticks
STACK_BYTES = 64 << 10
_MB = 1 << 20


@dataclass(frozen=True)
class Board:
    """An emulated machine. Regions: (origin, bytes); large constants go to the second. `clock`: its FPGAIO block."""

    machine: str
    flags: tuple[str, ...]
    code: tuple[int, int]
    constants: tuple[int, int]
    ram: tuple[int, int]
    clock: int


_M3 = ("-mcpu=cortex-m3", "-mfloat-abi=soft")
_M4 = ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
_M7 = ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
_M33 = ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
_M55 = ("-mcpu=cortex-m55", "-mfloat-abi=hard")
BOARDS = {
    "cortex-m3": Board("mps2-an385", _M3, (0, 4 * _MB), (0x21000000, 16 * _MB), (0x20000000, 4 * _MB), 0x40028000),
    "cortex-m4": Board("mps2-an386", _M4, (0, 4 * _MB), (0x21000000, 16 * _MB), (0x20000000, 4 * _MB), 0x40028000),
    "cortex-m7": Board("mps2-an500", _M7, (0, 4 * _MB), (0x60000000, 16 * _MB), (0x20000000, 4 * _MB), 0x40028000),
    "cortex-m33": Board(
        "mps2-an505",
        _M33,
        (0x10000000, 4 * _MB),
        (0x80000000, 16 * _MB),
        (0x38000000, 4 * _MB),
        0x50302000,
    ),
    "cortex-m55": Board(
        "mps3-an547",
        _M55,
        (0x10000000, 512 << 10),
        (0x70000000, 256 * _MB),
        (0x31000000, 4 * _MB),
        0x59302000,
    ),
}


@dataclass(frozen=True)
class Emulation:
    """What runs under emulation gave.

    `outputs`: [N, output_bytes]. `instructions`: of each run of net_invoke, its return included. `stack_bytes`: the
    most that net_invoke and what it calls used. `code_bytes`: instructions and the literals among them, of net.c and of
    the library functions that it calls; `flash_bytes`: those and all constants. `ram_bytes`: static memory, which is
    the arena and whatever net.c has besides. The harness is in none of them.
    """

    outputs: NDArray[np.int8]
    instructions: NDArray[np.int64]
    stack_bytes: int
    flash_bytes: int
    code_bytes: int
    arena_bytes: int
    ram_bytes: int


def emulate(
    directory: Path, inputs: NDArray[np.int8], *, cpu: str = "cortex-m7", optimize: str = "-O2", seconds: float = 600
) -> Emulation:
    """Build a generated directory for `cpu` and run N inputs, any shape after the first dimension.

    Nothing is written into the directory. `optimize`: one of `OPTIMIZATIONS`.

    Raises:
        NetwrightError: a tool is missing (with the Debian package that holds it), the CPU or the optimization is
            not known, the directory holds no network, the code does not compile, does not fit the board, or crashes.
    """
    stated = sizes(directory)
    checked = check_inputs(inputs, stated["input"])
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        elf = build_elf(directory, cpu=cpu, optimize=optimize, folder=Path(folder))
        outputs, instructions, stack = _run(elf, checked, stated["output"], cpu, seconds)
        code, flash = flash_of(elf)
        used = {name: size for name, (_, size) in sections(elf).items()}
    ram = used.get(".bss", 0) + used.get(".data", 0)
    return Emulation(outputs, instructions, stack, flash, code, stated["arena"], ram)


def flash_of(elf: Path) -> tuple[int, int]:
    """Return the bytes of code of a program of `build_elf`, and of code and constants; the harness is in neither."""
    used = {name: size for name, (_, size) in sections(elf).items()}
    code = used.get(".text", 0)
    return code, code + sum(used.get(name, 0) for name in (".rodata", ".data", ".ARM.extab", ".ARM.exidx"))


def board_of(cpu: str) -> Board:
    """Return the board that emulates a CPU.

    Raises:
        NetwrightError: there is none for it, or the tools are missing.
    """
    if cpu not in BOARDS:
        raise unknown("CPU", cpu, BOARDS)
    if reason := missing(*TOOLS):
        raise NetwrightError(f"Emulation needs a cross-compiler and an emulator: {reason}.")
    return BOARDS[cpu]


def check_optimization(optimize: str) -> None:
    """Refuse an option of the compiler that is none of `OPTIMIZATIONS`.

    Raises:
        NetwrightError: it is another one.
    """
    if optimize not in OPTIMIZATIONS:
        raise unknown("Optimization", optimize, OPTIMIZATIONS)


def build_elf(
    directory: Path, *, cpu: str, optimize: str = "-O2", flags: tuple[str, ...] = (), folder: Path | None = None
) -> Path:
    """Build net-CPU.elf in `folder`, directory/emulated if None, and return its path.

    Raises:
        NetwrightError: as of `emulate`.
    """
    check_optimization(optimize)
    board = board_of(cpu)
    stated = sizes(directory)
    folder = ((folder or directory / "emulated") / cpu).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    compiler = ["arm-none-eabi-gcc", *board.flags, "-mthumb", *WARNINGS, f"-I{directory}"]
    separate = ["-ffunction-sections", "-fdata-sections", "-c"]
    objects = [folder / name for name in ("net.o", "harness_emulated.o", "harness_start.o")]
    call([*compiler, optimize, *separate, *flags, directory / "net.c", "-o", objects[0]])
    # Loops of the harness stay loops, so that no library function is linked for its sake.
    plain = ["-O2", *separate, "-fno-tree-loop-distribute-patterns", f"-DCLOCK_BASE={board.clock:#x}u"]
    for source, made in zip(("emulated.c", "start.c"), objects[1:], strict=True):
        call([*compiler, *plain, harness(source), "-o", made])
    elf = folder.parent / f"net-{cpu}.elf"
    script = folder / "board.ld"
    loaded = sum(size for name, (_, size) in sections(objects[0]).items() if name.startswith((".text", ".rodata")))
    constants = "CODE" if loaded < 0.9 * board.code[1] else "CONSTANTS"
    script.write_text(_linker_script(board, constants, stated["arena"]))
    link = ["-nostartfiles", "-specs=nano.specs", "-Wl,--gc-sections", "-T", script]
    call(["arm-none-eabi-gcc", *board.flags, "-mthumb", *link, *objects, "-o", elf])
    return elf


def _linker_script(board: Board, constants: str, arena_bytes: int) -> str:
    if arena_bytes + STACK_BYTES > board.ram[1]:
        raise NetwrightError(
            f"An arena of {arena_bytes:,} bytes does not fit the {board.ram[1]:,} bytes of memory of the emulated "
            f"{board.machine}; run the network on this machine instead."
        )
    regions = {"code": board.code, "constants": board.constants, "ram": board.ram}
    values = {f"{name}_origin": f"{origin:#x}" for name, (origin, _) in regions.items()}
    values |= {f"{name}_bytes": str(size) for name, (_, size) in regions.items()}
    text = string.Template(harness("board.ld").read_text())
    return text.substitute(values, board=board.machine, constants=constants, stack_bytes=STACK_BYTES)


def sections(file: Path) -> dict[str, tuple[int, int]]:
    """Return address and bytes of each section of an object file or a program."""
    lines = [line.split() for line in call(["arm-none-eabi-size", "-A", "-d", file]).decode().splitlines()]
    return {words[0]: (int(words[2]), int(words[1])) for words in lines if len(words) == 3 and words[1].isdigit()}


def _run(
    elf: Path, inputs: NDArray[np.int8], output_bytes: int, cpu: str, seconds: float
) -> tuple[NDArray[np.int8], NDArray[np.int64], int]:
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        outputs, records = run_elf(elf, inputs, Path(folder), cpu=cpu, seconds=seconds)
    if len(records) != len(inputs) + 2:
        raise NetwrightError(f"The program {elf} ran {len(records) - 2} of {len(inputs)} inputs and stopped.")
    stack = int(records[2:, 2].max(initial=0))
    return np.frombuffer(outputs, np.int8).reshape(len(inputs), output_bytes), _instructions(records), stack


def _instructions(records: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return instructions of the runs from the third on; the first took one, the second KNOWN_INSTRUCTIONS.

    Boards differ in their clock, a whole number of MHz. The slow clock tells how often the fast one went round.
    """
    ticks = records[:, 0].astype(np.int64)
    nanoseconds = 1 << ICOUNT_SHIFT
    mhz = round(1000 * int(ticks[1] - ticks[0]) / (nanoseconds * (KNOWN_INSTRUCTIONS - 1)))
    ticks += np.rint((records[:, 1] * 1e4 * mhz - ticks) / CLOCK_ROUND).astype(np.int64) * CLOCK_ROUND
    return np.rint((ticks[2:] - ticks[0]) * 1000 / (nanoseconds * mhz)).astype(np.int64) + 1


def run_elf(
    elf: Path, inputs: NDArray[np.int8], folder: Path, *, cpu: str, seconds: float, options: tuple[str, ...] = ()
) -> tuple[bytes, NDArray[np.uint32]]:
    """Run a program of `build_elf` in `folder`; return its outputs and its records.

    A record: [ticks, hundredths of a second, stack bytes].

    Raises:
        NetwrightError: the emulator or the program failed.
    """
    (folder / "input.bin").write_bytes(inputs.tobytes())
    command = [
        "qemu-system-arm",
        "-M",
        board_of(cpu).machine,
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "none",
    ]
    clock = ["-icount", f"shift={ICOUNT_SHIFT}", "-semihosting-config", "enable=on,target=native"]
    call([*command, *clock, *options, "-kernel", elf], cwd=folder, seconds=seconds)
    records = np.frombuffer((folder / "runs.bin").read_bytes(), np.uint32).reshape(-1, 3)
    return (folder / "output.bin").read_bytes(), records
