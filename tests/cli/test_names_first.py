"""What a command is given is looked up before anything is asked for; what it prints to a file is not cut short."""

import pytest

from netwright.core.errors import NetwrightError
from netwright.workflow.compile import compile as compile_model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("NOSUCH:smallest", "There is no model 'NOSUCH:smallest'"),
        ("photo.jpg", "There is no model 'photo.jpg'"),
        ("photos:smallest", "photos is not a netwright run"),
        ("runs/nosuch:best", "runs/nosuch is not a netwright run"),
        ("nets.py:mine", "There is no file nets.py"),
        ("tiny:nosuch", "nosuch"),
    ],
)
def test_a_model_that_is_none_is_refused_before_images_are_asked_for(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.jpg").write_text("no image")
    with pytest.raises(NetwrightError, match=r"^(?!.*--data)") as raised:
        compile_model(model, out=tmp_path / "c")
    assert message in str(raised.value)


def test_a_table_in_a_file_keeps_every_cell_whole(tmp_path, monkeypatch, capsys):
    from rich.table import Table

    from netwright.cli.result import Result, verb

    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table(*(f"column {number}" for number in range(10)), box=None)
    table.add_row(*(f"{number:,} bytes of memory" for number in range(10)))
    verb(lambda: Result({}, [table]))()
    assert "9 bytes of memory" in capsys.readouterr().out
