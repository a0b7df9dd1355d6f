"""`netwright compile`: an int8 network as plain C with static memory, proven right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from rich.table import Table

    from netwright.graph.integers.quantized import QuantizedGraph
    from netwright.mcu.compile import Compiled

MODES = ("auto", "layers", "stream", "patch")
WEIGHTS = ("flash", "sram")


def compile(
    model: Annotated[
        str,
        typer.Argument(help="A .tflite file, a layer list (.json), or with --data a module: timm name, RUN:ARCH, ..."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the C files.")],
    cpu: Annotated[str, typer.Option(help="cortex-m3, -m4, -m7, -m33 or -m55.")] = "cortex-m7",
    sram: Annotated[str | None, typer.Option(help="Static memory there is: 320KB.")] = None,
    flash: Annotated[str | None, typer.Option(help="Flash there is: 1MB.")] = None,
    schedule: Annotated[str, typer.Option(help=f"{', '.join(MODES)}: how memory is saved.")] = "auto",
    weights: Annotated[str, typer.Option(help="Where weights lie: flash, or sram (faster on some devices).")] = "flash",
    data: Annotated[
        str | None, typer.Option(help="Images that calibrate a module's activations: a folder or .zip of them.")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="A module's input, 1x3x32x32, where its name does not say it.")
    ] = None,
    emulate: Annotated[bool, typer.Option("--emulate", help="Build net.elf too, for `netwright emulate`.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Write a network as C that needs no library and no heap, and say what it needs."""
    del json
    from netwright.core.progress import say
    from netwright.core.units import BYTES, parse_quantity

    if schedule not in MODES:
        raise unknown("Schedule", schedule, MODES)
    if weights not in WEIGHTS:
        raise unknown("Place of the weights", weights, WEIGHTS)
    limits = [
        None if text is None else int(parse_quantity(text, BYTES, option))
        for text, option in ((sram, "--sram"), (flash, "--flash"))
    ]
    from netwright.mcu.compile import check_place, compile_network
    from netwright.mcu.run.emulate import BOARDS

    if cpu not in BOARDS:
        raise unknown("Processor", cpu, BOARDS)
    check_place(out)
    read = read_integers(model, data, input)
    compiled = compile_network(
        read,
        out,
        name=Path(model).stem,
        cpu=cpu,
        sram_bytes=limits[0],
        flash_bytes=limits[1],
        mode=schedule,
        weights=weights,
        emulated=emulate,
        note=say,
    )
    failed = None if all(compiled.fits.values()) else " ".join(compiled.advice)
    return Result({"folder": str(out), **compiled.to_json()}, describe(compiled), failed)


def read_integers(model: str, data: str | None, shape: str | None = None) -> QuantizedGraph:
    """Return the integer network that a word on the command line stands for; a module is quantized with images of `data`.

    `shape`: the input of a module whose name does not say it.

    Raises:
        NetwrightError: nothing of that name, or it holds no integers and no images are given to find their ranges.
    """
    path = Path(model)
    if path.suffix in (".tflite", ".json"):
        if data is not None:
            raise NetwrightError(f"{model} is quantized already: leave --data out.")
        if shape is not None:
            raise NetwrightError(f"{model} says its input itself: leave --input out.")
        if path.suffix == ".json":
            from netwright.graph.files.layer_list import read_layer_list

            return read_layer_list(path)
        from netwright.graph.files.tflite import load_tflite

        return load_tflite(path)
    if path.suffix == ".npz":
        raise NetwrightError(
            f"{model} holds the numbers of a layer list; its structure is the .json beside it. Give "
            f"{path.with_suffix('.json')}, or write it if it is not there."
        )
    if path.suffix in (".onnx", ".pt2"):
        raise NetwrightError(
            f"{model}: `compile` takes .tflite files, layer lists (.json) and PyTorch modules (a timm name, RUN:ARCH, FILE.py:FUNCTION)."
        )
    from netwright.cli.calibration import quantized_module

    return quantized_module(model, data, shape)


def describe(compiled: Compiled) -> list[Any]:
    """Return what is printed: what the network needs, where its memory goes, and how to go on."""
    sizes, plan = compiled.sizes, compiled.plan
    fits = compiled.fits
    lines = [
        f"{compiled.network.macs:,} MACs in {len(compiled.network.layers)} layers, for {compiled.cpu}",
        f"SRAM   {compiled.sram_bytes:>10,} bytes{_against(compiled.sram_limit, fits['sram'])}; {plan.bound}",
        f"flash  {sizes.flash_bytes:>10,} bytes{_against(compiled.flash_limit, fits['flash'])}; "
        f"code {sizes.code_bytes:,}, constants {sizes.constant_bytes:,} ({sizes.origin})",
        f"C      {compiled.proven}",
    ]
    return [
        *lines,
        _table(compiled),
        *compiled.network.notes,
        *compiled.advice,
        f"written: {compiled.directory} (README.md there says how to call it)",
    ]


def _against(limit: int | None, fits: bool) -> str:
    return "" if limit is None else f" of {limit:,}, {'fits' if fits else 'DOES NOT FIT'}"


def _table(compiled: Compiled) -> Table:
    from rich.table import Table

    from netwright.mcu.schedule.steps import step_table

    table = Table(box=None, pad_edge=False)
    for title in ("step", "how", "output", "MACs", "bytes alive"):
        table.add_column(title, justify="left" if title in ("step", "how", "output") else "right")
    for row in step_table(compiled.network, compiled.plan):
        shape = "x".join(map(str, row["shape"]))
        table.add_row(row["name"], row["how"], shape, f"{row['macs']:,}", f"{row['alive_bytes']:,}")
    return table
