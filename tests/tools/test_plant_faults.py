"""The tool that plants faults, on a repository of three files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "plant_faults.py"
LIST = """
[[fault]]
file = "sums.py"
old = "a + b"
new = "a - b"
tests = ["test_sums.py"]
breaks = "sums are differences"

[[fault]]
file = "sums.py"
old = "return 7"
new = "return 8"
tests = ["test_sums.py"]
breaks = "seven is eight"
survives = "nobody asks for seven"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef seven():\n    return 7\n")
    (tmp_path / "test_sums.py").write_text("from sums import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n")
    (tmp_path / "faults.toml").write_text(LIST)
    return tmp_path


def plant(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--root", repository, "--faults", repository / "faults.toml", "--out", repository / "results"]
    return subprocess.run([sys.executable, SCRIPT, *map(str, places), *options], capture_output=True, text=True)


@pytest.mark.slow
def test_what_is_noticed_and_what_is_not(repository: Path) -> None:
    done = plant(repository)
    assert done.returncode == 0, done.stderr
    assert "1/2 noticed" in done.stdout and "2/2 NOT noticed" in done.stdout and "1 of 2 noticed" in done.stdout
    assert "a + b" in (repository / "sums.py").read_text()
    found = json.loads((repository / "results" / "planted_faults.json").read_text())["found"]
    assert [one["noticed"] for one in found.values()] == [True, False]
    page = (repository / "results" / "planted_faults.md").read_text()
    assert "- sums.py: seven is eight. Nobody asks for seven." in page
    assert "1 of 2 faults were noticed (50.0 %)" in page
    assert "1/2" not in plant(repository).stdout  # known already
    (repository / "test_sums.py").write_text("from sums import add\n\n\ndef test_add():\n    assert add(2, 0) == 2\n")
    assert "1/2 NOT noticed" in plant(repository, "--only", "differences").stdout


def test_tests_that_fail_by_themselves_end_it(repository: Path) -> None:
    (repository / "test_sums.py").write_text("def test_it():\n    assert False\n")
    done = plant(repository)
    assert done.returncode == 1
    assert "failed without a fault" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a + b", "a * c", "holds the old text 0 times"),
        ('"test_sums.py"', '"test_none.py"', "there is no test_none.py"),
        ('new = "a - b"', 'new = "a -"', "is no Python"),
        ('old = "return 7"', 'old = "return"', "holds the old text 2 times"),
    ],
)
def test_entries_that_are_out_of_date_are_named(repository: Path, old: str, new: str, message: str) -> None:
    if new == "a * c":
        (repository / "sums.py").write_text("def add(a, b):\n    return b + a\n\n\ndef seven():\n    return 7\n")
    else:
        (repository / "faults.toml").write_text(LIST.replace(old, new))
    done = plant(repository, "--check")
    assert done.returncode == 1
    assert message in done.stderr


def test_the_list_fits_the_code() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
