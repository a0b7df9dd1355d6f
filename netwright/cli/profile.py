"""`netwright profile`: what one network of a space costs, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.result import Result

if TYPE_CHECKING:
    from netwright.core.arch import Arch
    from netwright.supernet.family import Family


def profile(
    space: Annotated[str, typer.Argument(help="Search space, for example mobilenet-v3-small.")],
    arch: Annotated[str, typer.Option(help="smallest, largest, or a JSON file with an architecture.")] = "largest",
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 10,
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels.", min=8)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Print multiply-accumulates and parameters of every block of a network."""
    del json
    from rich.table import Table

    from netwright.cli.workspace import settings_for
    from netwright.supernet.spaces import family

    made = family(space, **settings_for(space, classes=classes, size=size, given={}))
    chosen = read_arch(made, arch)
    rows = [
        {"name": name, "block": repr(block), "input": list(shape), "macs": block.macs(shape), "params": block.params()}
        for name, block, shape in made.priced_blocks(chosen)
    ]
    total = {"macs": made.macs(chosen), "params": made.params(chosen)}
    table = Table("block", "kind", "input", "MACs", "share", "parameters", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        shape = "x".join(str(side) for side in row["input"])
        share = f"{row['macs'] / max(1, total['macs']):.1%}"
        kind = row["block"].split("(")[0]
        table.add_row(row["name"], kind, shape, f"{row['macs']:,}", share, f"{row['params']:,}")
    table.add_row("total", "", "", f"{total['macs']:,}", "100.0%", f"{total['params']:,}")
    data = {"space": space, "arch": chosen.to_json(), **total, "blocks": rows}
    return Result(data, [f"{space}, input {chosen.resolution} px: exact counts for one image", table])


def read_arch(made: Family, text: str) -> Arch:
    """Return an arch by word or from a JSON file, checked against the space.

    Raises:
        NetwrightError: no such word or file, or the arch is not of the space.
    """
    from netwright.core.arch import Arch
    from netwright.core.errors import NetwrightError
    from netwright.core.files import read_json

    words = {"smallest": made.space.smallest, "largest": made.space.largest}
    if text in words:
        return words[text]()
    if not Path(text).is_file():
        raise NetwrightError(f"--arch {text!r} is neither {' nor '.join(words)} nor a JSON file that exists.")
    values = read_json(Path(text))
    arch = Arch.from_json(values.get("arch", values) if isinstance(values, dict) else values)
    made.space.encode(arch)
    return arch
