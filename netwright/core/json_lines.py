"""Files of JSON records, one a line, that are appended to: metrics.jsonl and its like; a line cut off by a kill costs itself."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON record as one line (one write call, so that lines never interleave)."""
    line = (json.dumps(record) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() and not _ends_with_newline(path):
                line = b"\n" + line
            file.write(line)
    except OSError as error:
        raise NetwrightError(f"Cannot append to {path}: {error.strerror or error}.") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; a line cut off by a kill is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
