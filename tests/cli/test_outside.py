"""The command line as a person meets it: other processes, real files, full disks, closed pipes, interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

VERBS = ("demo", "train", "device", "search", "deploy", "report", "profile")


def netwright(*words, **settings):
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, "-m", "netwright", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, **settings)


def test_help_loads_nothing_heavy():
    program = (
        "import sys; sys.argv = ['netwright', '--help']\n"
        "from netwright.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n"
        "    heavy = {'torch', 'numpy', 'matplotlib', 'onnx', 'onnxruntime', 'sklearn', 'scipy', 'torchvision', 'PIL'}\n"
        "    sys.exit(f'loaded {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


def test_without_a_verb_there_is_help_and_a_wrong_one_is_an_error():
    assert "Commands" in netwright().stdout + netwright().stderr
    wrong = netwright("serch")
    assert wrong.returncode == 2
    assert "serch" in wrong.stderr
    assert wrong.stdout == ""


def test_json_is_one_object_and_nothing_else():
    done = netwright("profile", "tiny:smallest", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sum(layer["macs"] for layer in told["layers"]) == told["macs"]
    assert sum(layer["params"] for layer in told["layers"]) == told["params"]


def test_errors_are_one_message_without_a_traceback(tmp_path):
    done = netwright("report", tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "no config.json" in done.stderr


def test_a_reader_that_goes_away_is_no_error_worth_a_word():
    command = [sys.executable, "-m", "netwright", "profile", "mobilenet-v3-small"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_behind_standard_output_is_said_once():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "netwright", "profile", "tiny", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_leaves_what_was_written(run):
    """A limit on file sizes stands for the full disk: the report and a search result cannot be written."""
    (run / "report.html").write_text("the earlier report")
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    program = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"sys.argv = ['netwright', 'report', {str(run)!r}]\n"
        "runpy.run_module('netwright', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "report.html" in done.stderr
    assert "Traceback" not in done.stderr
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


def test_an_interrupted_training_says_how_to_go_on(tmp_path):
    words = ["train", "digits", "--space", "tiny", "--recipe", "random", "--out", tmp_path / "run", "--epochs", "500"]
    command = [sys.executable, "-m", "netwright", *map(str, words), "--set", "log_every=1", "--set", "batch_size=32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(1200):
        if (metrics.exists() and metrics.stat().st_size) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "repeat the same command" in err
