"""Things of the user's own, given as FILE.py:NAME."""

from __future__ import annotations

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.tables import load_own


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "nets.py").write_text(f"VALUE = {number}\n")
    assert [load_own(f"{tmp_path / str(number)}/nets.py:VALUE") for number in (1, 2)] == [1, 2]


def test_a_file_runs_once_however_its_path_is_written(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text("VALUE = object()\n")
    monkeypatch.chdir(tmp_path)
    assert load_own("nets.py:VALUE") is load_own(f"{tmp_path}/nets.py:VALUE")


def test_a_file_that_failed_is_run_again_once_it_is_mended(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text("VALUE = 1\nraise ValueError('half')\n")
    with pytest.raises(NetwrightError, match="failed with ValueError: half"):
        load_own(f"{path}:VALUE")
    path.write_text("VALUE = 22\n")
    assert load_own(f"{path}:VALUE") == 22
