"""`netwright compile` and `emulate` from outside: what they print, what they refuse, what they leave behind."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from netwright.graph.files.tflite import load_tflite
from netwright.graph.files.tflite_writer import write_tflite
from netwright.graph.integers.interpret import interpret
from netwright.mcu.lower.border import as_bytes, as_tensors
from netwright.mcu.lower.lower import lower
from tests.cli.test_verbs import assert_refused, result
from tests.mcu.graphs import mobile

EMULATOR = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
FIELDS = {"macs", "arena_bytes", "lower_bound_bytes", "bound", "flash_bytes", "code_bytes", "fits", "schedule", "ops"}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mobile.tflite"
    write_tflite(mobile(), path)
    return path


def test_the_printed_object_says_what_the_directory_holds(call, model_file, tmp_path):
    told = result(call, "compile", model_file, "--sram", "320KB", "--flash", "1MB", "--out", tmp_path / "net")
    assert told.keys() >= FIELDS
    assert told["fits"] == {"sram": True, "flash": True}
    written = json.loads((tmp_path / "net" / "net.json").read_text())
    assert {name: written[name] for name in told if name != "folder"} == {
        k: v for k, v in told.items() if k != "folder"
    }
    assert sorted(written["files"]) == sorted(path.name for path in (tmp_path / "net").iterdir())
    assert f"#define NET_ARENA_BYTES {told['arena_bytes']}\n" in (tmp_path / "net" / "net.h").read_text()
    assert sum(op["macs"] for op in told["ops"]) == told["macs"]
    assert told["proven"].startswith("equal to the interpreter")


def test_people_read_where_the_memory_goes(call, model_file, tmp_path):
    done = call("compile", model_file, "--schedule", "layers", "--out", tmp_path / "net")
    assert done.code == 0, done.err
    assert "conv_2d" in done.out and "in place" in done.out and "README.md" in done.out


@EMULATOR
def test_the_emulated_outputs_are_the_interpreters(call, model_file, tmp_path):
    model = load_tflite(model_file)
    network = lower(model)
    inputs = np.random.default_rng(0).integers(-128, 128, (3, 17 * 17 * 3), dtype=np.int8)
    (tmp_path / "in.bin").write_bytes(inputs.tobytes())
    result(call, "compile", model_file, "--cpu", "cortex-m4", "--emulate", "--out", tmp_path / "net")
    assert (tmp_path / "net" / "emulated" / "net-cortex-m4.elf").is_file()
    told = result(
        call,
        "emulate",
        tmp_path / "net",
        "--cpu",
        "cortex-m4",
        "--input",
        tmp_path / "in.bin",
        "--output",
        tmp_path / "out.bin",
    )
    assert told["runs"] == 3
    assert told["instructions"] > 0 and told["stack_bytes"] > 0 and told["flash_bytes"] > told["code_bytes"]
    expected = as_bytes(model, network, interpret(model, as_tensors(model, network, inputs)))
    assert (tmp_path / "out.bin").read_bytes() == expected.tobytes()


def test_what_does_not_fit_is_written_told_and_fails(call, model_file, tmp_path):
    done = call("compile", model_file, "--sram", "700B", "--out", tmp_path / "net", "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert told["fits"]["sram"] is False
    assert (tmp_path / "net" / "net.c").is_file()
    assert "more than --sram" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["nowhere.tflite"], ["nowhere.tflite"]),
        (["{model}", "--schedule", "diagonal"], ["diagonal", "layers"]),
        (["{model}", "--cpu", "cortex-m99"], ["cortex-m99", "cortex-m7"]),
        (["{model}", "--weights", "tape"], ["tape", "flash"]),
        (["{model}", "--sram", "lots"], ["--sram", "lots"]),
        (["{model}", "--sram", "-5KB"], ["--sram"]),
        (["{model}", "--data", "digits"], ["quantized already"]),
        (["model.onnx"], [".tflite"]),
        (["no_such_network", "--data", "digits"], ["no_such_network"]),
        (["mobilenetv2_035"], ["--data"]),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(call, model_file, tmp_path, words, parts):
    words = [str(model_file) if word == "{model}" else word for word in words]
    assert_refused(call("compile", *words, "--out", tmp_path / "net"), *parts)
    assert not (tmp_path / "net").exists()


def test_damaged_files_are_refused(call, model_file, tmp_path):
    content = model_file.read_bytes()
    for name, damaged in {
        "half": content[: len(content) // 2],
        "empty": b"",
        "text": b"TFL3 but not really" * 9,
    }.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(damaged)
        assert_refused(call("compile", path, "--out", tmp_path / "net"), name)
    (tmp_path / "list.json").write_text('{"layers": 3}')
    assert_refused(call("compile", tmp_path / "list.json", "--out", tmp_path / "net"), "list.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "empty.tflite",
        "half.tflite",
        "list.json",
        "text.tflite",
    ]


def test_places_that_cannot_be_written_are_refused(call, model_file, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    assert_refused(call("compile", model_file, "--out", tmp_path / "notes"), "holds other files")
    assert_refused(call("compile", model_file, "--out", model_file), "is a file")
    assert_refused(call("compile", model_file, "--out", model_file / "net"), "Cannot write")


def test_emulate_refuses_what_it_cannot_run(call, model_file, tmp_path):
    assert_refused(call("emulate", tmp_path), "netwright compile")
    assert_refused(call("emulate", tmp_path / "nowhere"), "netwright compile")
    result(call, "compile", model_file, "--out", tmp_path / "net")
    (tmp_path / "short.bin").write_bytes(b"12345")
    assert_refused(call("emulate", tmp_path / "net", "--input", tmp_path / "short.bin"), "867")


def test_a_tflite_file_prepares_photographs_where_it_is_told_how(call, model_file, tmp_path):
    result(call, "compile", model_file, "--out", tmp_path / "plain")
    assert not (tmp_path / "plain" / "net_preprocess.h").exists()
    result(
        call, "compile", model_file, "--mean", "0.5", "--std", "0.25", "--channels", "BGR", "--out", tmp_path / "net"
    )
    header = (tmp_path / "net" / "net_preprocess.h").read_text()
    assert "#define NET_IMAGE_MEAN {0.5f, 0.5f, 0.5f}" in header and '#define NET_IMAGE_ORDER "BGR"' in header
    assert "net_class_names" not in header
