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
