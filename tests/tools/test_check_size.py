import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "check_size.py"


def run(folder):
    return subprocess.run([sys.executable, SCRIPT, str(folder)], capture_output=True, text=True)


def function(name, lines):
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1\n" * 501, "501 lines, at most 500"),
        ("x = 1\n" * 151, "median file has 151 lines"),
        (function("f", 81), "f: 81 lines, at most 80"),
        ("@staticmethod\n" + function("f", 80), "f: 81 lines, at most 80"),
        ("".join(function(f"f{i}", 41) for i in range(3)), "up to 41 lines"),
    ],
)
def test_what_is_over_the_budget_is_named(tmp_path, source, complaint):
    (tmp_path / "a.py").write_text(source)
    result = run(tmp_path)
    assert result.returncode == 1
    assert complaint in result.stderr


def test_what_is_at_the_limit_passes(tmp_path):
    (tmp_path / "long.py").write_text(function("f", 80) + "x = 1\n" * 420)
    (tmp_path / "short.py").write_text("".join(function(f"f{i}", 10) for i in range(10)))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "shorter.py").write_text("x = 1\n")
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
