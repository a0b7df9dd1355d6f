"""How a benchmark ends: its results as JSON and as a page, both wholly written or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netwright.core.files import write_bytes, write_json


def save(out: Path, stem: str, result: dict[str, Any], page: str) -> None:
    """Write STEM.json and STEM.md into a folder, and print the page."""
    write_json(out / f"{stem}.json", result)
    write_bytes(out / f"{stem}.md", page.encode())
    print(page)
