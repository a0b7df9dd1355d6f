"""Runs: made once, opened again only with the settings they were made with; their lines survive a kill."""

from __future__ import annotations

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.json_lines import append_line, read_lines
from netwright.core.run import Run

CONFIG = {"kind": "supernet", "space": "tiny", "own": {"space": "nets.py:mine"}}


def test_the_same_settings_open_the_run_again(tmp_path):
    Run.create(tmp_path / "run", CONFIG).log({"step": 1})
    again = Run.create(tmp_path / "run", CONFIG)
    assert again.metrics() == [{"step": 1}] and again.config == Run.open(tmp_path / "run").config


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**CONFIG, "space": "vit"}, "space"),
        ({name: value for name, value in CONFIG.items() if name != "own"}, "own"),
        ({**CONFIG, "task": "mine.py:TASK"}, "task"),
    ],
)
def test_settings_that_differ_are_left_out_or_are_new_are_named(tmp_path, config, named):
    Run.create(tmp_path / "run", CONFIG)
    with pytest.raises(NetwrightError, match=rf"other settings \({named} differ\)"):
        Run.create(tmp_path / "run", config)


def test_a_line_that_a_kill_cut_off_takes_no_other_with_it(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"step": 1})
    path.write_bytes(path.read_bytes() + b'{"step": 2, "lo')
    append_line(path, {"step": 3})
    assert read_lines(path) == [{"step": 1}, {"step": 3}]
