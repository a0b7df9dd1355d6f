"""The Python of every page runs: its blocks in order, in one namespace, in an empty directory."""

import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "```python" in path.read_text()
]


def python_blocks(text):
    """Return the Python of a page with every line at its own line number, so that tracebacks point into the page."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield "\n" * (text[: found.start(1)].count("\n")) + found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_the_page_runs(page, tmp_path, monkeypatch):
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    for code in python_blocks(page.read_text()):
        exec(compile(code, str(page), "exec"), module.__dict__)  # noqa: S102 - our own pages


def test_blocks_keep_their_line_numbers():
    (code,) = python_blocks("# Title\n\n```python\nx = 1\n```\n\n```sh\nls\n```\n")
    assert code == "\n\n\nx = 1\n"


def test_a_family_of_ones_own_takes_at_most_40_lines():
    family, *_ = (ROOT / "docs" / "tutorial-own-family.md").read_text().split("from netwright import Supernet")
    code = "\n".join(python_blocks(family)).partition("print(")[0]
    assert "family = Family(" in code
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 40


def test_relative_links_of_the_root_pages_lead_somewhere():
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (ROOT / target).exists(), f"{page.name}: {target}"
