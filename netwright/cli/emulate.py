"""`netwright emulate`: generated C on an emulated microcontroller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.result import Result


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
    """Run generated C on an emulated Cortex-M: outputs, instructions, memory."""
    from netwright.core.files import atomic_path
    from netwright.mcu.run import emulate as emulation
    from netwright.mcu.run.toolchain import read_inputs

    del json
    emulation.check_optimization(optimize)
    inputs = read_inputs(build, input)
    done = emulation.emulate(build, inputs, cpu=cpu, optimize=optimize)
    if output is not None:
        with atomic_path(output) as path:
            path.write_bytes(done.outputs.tobytes())
    data = {
        "cpu": cpu,
        "runs": len(inputs),
        "instructions": int(done.instructions.max()),
        "instructions_least": int(done.instructions.min()),
        "arena_bytes": done.arena_bytes,
        "ram_bytes": done.ram_bytes,
        "stack_bytes": done.stack_bytes,
        "flash_bytes": done.flash_bytes,
        "code_bytes": done.code_bytes,
    }
    shown = [
        f"{cpu}, {len(inputs)} run{'s' if len(inputs) != 1 else ''}: {data['instructions']:,} instructions an inference at most",
        f"SRAM: arena {done.arena_bytes:,} + stack {done.stack_bytes:,} bytes",
        f"Flash: {done.flash_bytes:,} bytes, of which code {done.code_bytes:,}",
        "Instructions are not cycles: the emulator models neither pipeline nor caches nor wait states.",
    ]
    if hot:
        from netwright.mcu.run.hotspots import hotspots

        found = hotspots(build, inputs, cpu=cpu, optimize=optimize)
        for what in ("step", "function"):
            data[f"by_{what}"] = [{what: name, "instructions": total} for name, total in found.by(what)]
            shown += [f"By {what}:", *(f"{total:14,}  {name}" for name, total in found.by(what))]
    return Result(data, shown)
