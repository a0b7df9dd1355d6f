"""What a command is given is looked up before anything is asked for; what it prints to a file is not cut short."""

import json

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


@pytest.mark.parametrize("kind", ["bounded", "predicted"])
def test_the_latency_of_another_device_is_not_the_expected_one_here(searched, kind):
    from netwright.workflow.archs import choose
    from netwright.workflow.open import open_run

    (file,) = (searched / "search").glob("*.json")
    found = json.loads(file.read_text()) | {"device": "stm32f746"}
    expected = choose(open_run(searched), "best")[1].latency_ms.value
    for one in (*found["candidates"], *found["front"]):
        one["latency_ms"] = {"value": 180.0, "kind": kind}
    file.write_text(json.dumps(found))
    latency = choose(open_run(searched), "best")[1].latency_ms
    assert latency.kind == "predicted" and latency.value < 180 and latency.value == pytest.approx(expected, rel=0.5)


def test_training_of_a_module_without_data_for_it_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(NetwrightError, match=r"give RUN:ARCH[^-]*$"):
        compile_model("mobilenetv2_035", out=tmp_path / "c", data=str(tmp_path / "nosuch"), qat=1.0)


def test_a_card_counts_only_what_was_trained_on(searched):
    from netwright.workflow.deploy import _origin
    from netwright.workflow.open import open_run

    run = open_run(searched)
    told = _origin(run, run.family.space.smallest(), 0)["training data"]
    assert f"{len(run.training.train)} images for training, {len(run.held_out)} for choosing" in told
    assert len(run.training.train) + len(run.held_out) == len(run.dataset.train)
