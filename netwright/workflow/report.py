"""Everything about a run in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netwright.workflow.open import OpenRun, open_run

if TYPE_CHECKING:
    from netwright.models.own_space import GivenSpace
    from netwright.tasks.task import Task


def report(run: str | Path | OpenRun, *, space: GivenSpace | None = None, task: str | Task | None = None) -> Path:
    """Write RUN/report.html: curves, the trade-off, the networks found, drawn; return its path.

    Args:
        run: the run directory, which may be unfinished, or the run, opened.
        space, task: the run's space and task again, where they are your own.

    Raises:
        NetwrightError: not a run, or the file cannot be written.
    """
    from netwright.report.report import write_report

    opened = open_run(run, space=space, task=task)
    return write_report(opened.run, opened.family)
