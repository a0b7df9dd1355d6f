"""`netwright compile`: an int8 network as plain C with static memory, proven right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.tables import OWN
from netwright.graph.integers.comparison import ACCEPTED_DB, words
from netwright.workflow.compile import MODES
from netwright.workflow.quantizing import OBSERVERS

if TYPE_CHECKING:
    from rich.table import Table

    from netwright.mcu.compile import Compiled


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
    weights: Annotated[
        str, typer.Option(help="Where weights are kept: flash, or sram (faster on some devices).")
    ] = "flash",
    data: Annotated[
        str | None, typer.Option(help="Images that calibrate a module's activations: a folder or .zip of them.")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="A module's input, 1x3x32x32, where its name does not say it.")
    ] = None,
    operators: Annotated[str | None, typer.Option(help=f"Operators of your own: {OWN}.")] = None,
    space: Annotated[str | None, typer.Option(help=f"The run's space again, where it is your own: {OWN}.")] = None,
    calibration: Annotated[int | None, typer.Option(help="Images that calibrate a module's activations; 256.")] = None,
    observer: Annotated[str | None, typer.Option(help=f"How their ranges are chosen: {', '.join(OBSERVERS)}.")] = None,
    qat: Annotated[
        float, typer.Option(help="Epochs of training with fake quantization, on a run's training data.", min=0.0)
    ] = 0.0,
    accept_sqnr: Annotated[
        float, typer.Option(help="Least ratio to the float network's outputs that is accepted, dB; below, exit 1.")
    ] = ACCEPTED_DB,
    layers: Annotated[bool, typer.Option("--layers", help="Compare with the float network layer by layer.")] = False,
    mean: Annotated[
        str | None, typer.Option(help="A module's input is (byte / scale - mean) / std: one number, or one a channel.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    scale: Annotated[float | None, typer.Option(help="Likewise: 255 for 0 to 1, 1 for 0 to 255.")] = None,
    channels: Annotated[str | None, typer.Option(help="The order it takes them in: RGB, BGR or grey.")] = None,
    emulate: Annotated[bool, typer.Option("--emulate", help="Build net.elf too, for `netwright emulate`.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Write a network as C without libraries and heap.

    It prints the SRAM, flash and instructions that the C needs.
    """
    del json
    from netwright.core.progress import say
    from netwright.data.preparation import stated
    from netwright.workflow.compile import compile as compile_model

    compiled = compile_model(
        model,
        out=out,
        cpu=cpu,
        sram=sram,
        flash=flash,
        schedule=schedule,
        weights=weights,
        data=data,
        input=input,
        emulated=emulate,
        operators=operators,
        space=space,
        calibration=calibration,
        observer=observer,
        qat=qat,
        layers=layers,
        preparation=stated(mean, std, scale, channels),
        note=say,
    )
    reasons = [] if all(compiled.fits.values()) else [*compiled.advice]
    found = compiled.comparison
    if found is not None and not found.accepts(accept_sqnr):
        reasons.append(f"{found.doubt(accept_sqnr)} With --accept-sqnr it is taken as it is.")
    return Result({"folder": str(out), **compiled.to_json()}, describe(compiled), " ".join(reasons) or None)


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
        f"float  {_beside_float(compiled)}",
        *top1_lines(compiled.checks.get("top1")),
    ]
    return [
        *lines,
        _table(compiled),
        *_layers(compiled),
        *compiled.network.notes,
        *compiled.advice,
        f"written: {compiled.directory} (README.md there says how to call it)",
    ]


def _beside_float(compiled: Compiled) -> str:
    """Say how far the integers are from the float network, with a warning where that is far."""
    found = compiled.comparison
    if found is None:
        return "nothing compared: the model came as integers, without a network in float"
    doubt = found.doubt()
    return found.describe() + (f"\nWarning: {doubt}" if doubt else "")


def top1_lines(found: Mapping[str, Any] | None) -> list[str]:
    """Return a line on how often the network is right, where images held out have told."""
    if found is None:
        return []
    in_c = "no C compiler here" if found["c"] is None else f"{found['c']:.1%} in C on this machine"
    return [
        f"top-1  {in_c}, {found['interpreter']:.1%} in the interpreter, {found['float']:.1%} in float before quantizing; "
        f"{found['images']:,} images held out"
    ]


def _layers(compiled: Compiled) -> list[str]:
    found = compiled.comparison
    if found is None or not found.layers:
        return []
    steepest = found.steepest
    return [
        "Layer by layer, SQNR on the way from the input:",
        *(f"{words(one.sqnr_db):>18}  {one.name}{'  falls most' if one is steepest else ''}" for one in found.layers),
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
