"""The tasks that come with netwright, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.tables import Table

if TYPE_CHECKING:
    from netwright.tasks.task import Task

TASKS: Table[Task] = Table(
    "Task", {"classification": "netwright.tasks.classify:CLASSIFICATION"}, "netwright.tasks.task:Task"
)
