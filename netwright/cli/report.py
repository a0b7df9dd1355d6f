"""`netwright report`: everything about a run in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.result import SPACE_AGAIN, TASK_AGAIN, Result


def report(
    run: Annotated[Path, typer.Argument(help="Run directory; it may be unfinished.")],
    space: Annotated[str | None, typer.Option(help=SPACE_AGAIN)] = None,
    task: Annotated[str | None, typer.Option(help=TASK_AGAIN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Write RUN/report.html: curves, Pareto plot, networks."""
    del json
    from netwright.workflow.report import report as write

    path = write(run, space=space, task=task)
    return Result({"report": str(path)}, [f"The report is {path.resolve()}: open it in a browser."])
