"""`netwright emulate`: generated C on an emulated microcontroller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.compile import top1_lines
from netwright.cli.result import Result

if TYPE_CHECKING:
    from netwright.workflow.compile import Emulated


def emulate(
    build: Annotated[Path, typer.Argument(help="Directory that `netwright compile` made.")],
    cpu: Annotated[str, typer.Option(help="cortex-m3, -m4, -m7, -m33 or -m55.")] = "cortex-m7",
    input: Annotated[
        Path | None,
        typer.Option(
            help="File of int8 inputs, back to back. Without it: one random input.", exists=True, dir_okay=False
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File for the int8 outputs.")] = None,
    optimize: Annotated[str, typer.Option(help="The compiler's -O1, -O2, -O3 or -Os.")] = "-O2",
    hot: Annotated[bool, typer.Option("--hot", help="Show where the instructions of the first input go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Run generated C on an emulated Cortex-M.

    It prints outputs, instructions and memory.
    """
    from netwright.workflow.compile import emulate as emulate_build

    del json
    done = emulate_build(build, cpu=cpu, input=input, output=output, optimize=optimize, hot=hot)
    return Result(done.to_json(), describe(done))


def describe(done: Emulated) -> list[str]:
    """Return what is printed: instructions and memory, and where the instructions went if asked."""
    ran, runs = done.emulation, len(done.emulation.outputs)
    shown = [
        f"{done.cpu}, {runs} run{'s' if runs != 1 else ''}: {int(ran.instructions.max()):,} instructions an inference at most",
        f"SRAM: arena {ran.arena_bytes:,} + stack {ran.stack_bytes:,} bytes",
        f"Flash: {ran.flash_bytes:,} bytes, of which code {ran.code_bytes:,}",
        "Instructions are not cycles: the emulator models neither pipeline nor caches nor wait states.",
    ]
    shown += top1_lines(done.top1)
    if done.hotspots is not None:
        for what in ("step", "function"):
            shown += [f"By {what}:", *(f"{total:14,}  {name}" for name, total in done.hotspots.by(what))]
    return shown
