"""`netwright report`: everything about a run in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.result import Result


def report(
    run: Annotated[Path, typer.Argument(help="Run directory; it may be unfinished.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Write RUN/report.html: curves, Pareto plot, the networks found, drawn."""
    del json
    from netwright.cli.workspace import open_run
    from netwright.report.report import write_report

    path = write_report(open_run(run))
    return Result({"report": str(path)}, [f"The report is {path.resolve()}: open it in a browser."])
