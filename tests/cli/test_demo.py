"""The whole way, small here; the demo as people run it is a slow test."""

import json
import subprocess
import sys

import numpy as np
import pytest

from netwright.workflow.demo import Size, demo


def test_the_whole_way(small_demo, tmp_path):
    done = demo(tmp_path / "run", small_demo)
    assert len(done.networks) == 1
    row = done.networks[0]
    assert row["max_abs_difference"] < 1e-3
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{row['folder']}/model.onnx", providers=["CPUExecutionProvider"])
    told = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert told["classes"] == [str(digit) for digit in range(10)]
    x = np.zeros((3, 3, told["size"], told["size"]), np.float32)
    assert session.run(None, {told["input_name"]: x})[0].shape == (3, 10)
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count('class="drawing"') == 1
    assert 'class="missing"' not in report

    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.name != "report.html"}
    again = demo(tmp_path / "run", small_demo)  # everything is there: nothing is made anew
    assert {
        file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.name != "report.html"
    } == files
    assert again.networks == done.networks


def test_what_makes_the_demo_doubtful_is_printed(monkeypatch, call, tmp_path):
    """A busy machine, networks above their budgets, a predictor that knows nothing."""
    from netwright.workflow import demo as work
    from tests.cli.conftest import tiny_latency_model

    model = tiny_latency_model(noise_percent=33.0)
    row = {"accuracy": 50.0, "predicted_ms": 0.1, "macs": 1e6, "params": 1e4, "max_abs_difference": 1e-7, "folder": "f"}
    rows = [
        row | {"budget": "0.134-ms", "budget_ms": 0.134, "latency_ms": 0.179, "exceeds": {"latency_ms": 0.134}},
        row | {"budget": "0.319-ms", "budget_ms": 0.319, "latency_ms": 0.3, "exceeds": {}},
    ]
    told = work.warnings_of(model, [{"predictor": {"doubt": "the predictor knows nothing"}}], rows)
    done = work.Demo(tmp_path, tmp_path / "report.html", 1.0, tuple(rows), model.summary(), told)
    monkeypatch.setattr(work, "demo", lambda out: done)
    printed = call("demo", "--out", tmp_path / "run")
    assert printed.code == 0, printed.err
    assert "0.179 ms, over 0.134 ms" in printed.out and "over 0.319 ms" not in printed.out
    for said in (
        "noise floor of its timings 33.0 %",
        "the machine was busy",
        "1 of 2 networks measure above",
        "knows nothing",
    ):
        assert said in printed.out
    assert json.loads(call("demo", "--out", tmp_path / "run", "--json").out)["warnings"] == list(told)


@pytest.mark.slow
def test_every_row_of_the_demo_says_whether_it_holds_its_budget(small_demo, tmp_path, monkeypatch):
    from netwright.cost.figures import Figure
    from netwright.workflow import deploy

    monkeypatch.setattr(deploy, "measure_exported", lambda *given: Figure(1e3, "measured", source="a second, by hand"))
    (row,) = demo(tmp_path / "run", small_demo).networks
    assert row["exceeds"] == {"latency_ms": row["budget_ms"]}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "a second, by hand" in page and "the limit it was searched for" in page
    assert "**over" in (tmp_path / "run" / "deployed" / row["budget"] / "README.md").read_text()


@pytest.mark.slow
def test_the_demo_as_people_run_it(tmp_path):
    command = [sys.executable, "-m", "netwright", "demo", "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["networks"]) == len(Size().budgets) == 3
    accuracies = [row["accuracy"] for row in told["networks"]]
    assert max(accuracies) >= 90
    assert accuracies[-1] >= accuracies[0] - 3  # 180 images: one more or less is 0.6 %
