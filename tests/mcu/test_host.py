import subprocess

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.mcu.run.host import build_host, host_files
from netwright.mcu.run.toolchain import call, missing, read_inputs, sizes
from tests.mcu.toy import NEGATE, compiled_with, write_toy

INPUTS = np.random.default_rng(0).integers(-128, 128, (50, 4)).astype(np.int8)


@pytest.mark.parametrize(
    ("compiler", "sanitize"),
    [
        pytest.param("gcc", False, marks=compiled_with("gcc")),
        pytest.param("gcc", True, marks=compiled_with("gcc")),
        pytest.param("clang", False, marks=compiled_with("clang")),
    ],
)
def test_runs_every_input(tmp_path, compiler, sanitize):
    net = build_host(write_toy(tmp_path), compiler=compiler, sanitize=sanitize)
    assert (net.run(INPUTS) == ~INPUTS).all()
    assert net.run(INPUTS[:0]).shape == (0, 4)
    assert (net.run(INPUTS.reshape(50, 2, 1, 2)) == ~INPUTS).all()


@compiled_with("gcc")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("  const int8_t *place = arena;\n  output[0] = place[input[0]];", "insufficient space|overflow"),
        ("  output[0] = (int8_t)(input[0] << (input[1] + 32));", "shift"),
    ],
)
def test_sanitizers_stop_a_wrong_network(tmp_path, body, told):
    net = build_host(write_toy(tmp_path, body), sanitize=True)
    with pytest.raises(NetwrightError, match=told):
        net.run(np.full((1, 4), 100, np.int8))


@compiled_with("gcc")
def test_a_warning_is_an_error(tmp_path):
    write_toy(tmp_path, "  int32_t wide = input[0] * 300;\n  output[0] = wide;")  # an int made narrower
    with pytest.raises(NetwrightError, match="conversion"):
        build_host(tmp_path)


def test_inputs_of_another_size_are_refused(tmp_path):
    write_toy(tmp_path)
    for wrong in (np.zeros((3, 5), np.int8), np.zeros((3, 4), np.uint8), np.int8(3)):
        with pytest.raises(NetwrightError, match=r"\[N, 4\] of int8"):
            build_host(tmp_path).run(np.asarray(wrong))
    file = tmp_path / "in.bin"
    for count in (0, 3, 7):
        file.write_bytes(bytes(count))
        with pytest.raises(NetwrightError, match="no whole number"):
            read_inputs(tmp_path, file)
    file.write_bytes(INPUTS.tobytes())
    assert (read_inputs(tmp_path, file) == INPUTS).all()
    assert read_inputs(tmp_path, None).shape == (1, 4)


def test_directories_without_a_network_are_refused(tmp_path):
    with pytest.raises(NetwrightError, match="netwright compile"):
        sizes(tmp_path)
    write_toy(tmp_path)
    (tmp_path / "net.h").write_text("#define NET_INPUT_BYTES 3\n#define NET_OUTPUT_BYTES (7u)\n")
    with pytest.raises(NetwrightError, match="NET_ARENA_BYTES"):
        sizes(tmp_path)


def test_missing_tools_name_their_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" in missing(
        "arm-none-eabi-gcc", "qemu-system-arm"
    )
    with pytest.raises(NetwrightError, match="apt-get install clang"):
        call(["clang", "--version"])


def test_a_program_that_does_not_end_is_stopped():
    with pytest.raises(NetwrightError, match=r"did not end within 0\.2 s"):
        call(["sleep", "30"], seconds=0.2)


@compiled_with("gcc")
@compiled_with("make")
def test_the_makefile_builds_the_same_program(tmp_path):
    write_toy(tmp_path, NEGATE)
    for name, text in host_files().items():
        (tmp_path / name).write_text(text)
    for target in ("net", "net-sanitized"):
        subprocess.run(["make", "-s", "-C", tmp_path, target], check=True)
        written = subprocess.run([tmp_path / target], input=INPUTS.tobytes(), capture_output=True, check=True).stdout
        assert written == (~INPUTS).tobytes()
        torn = subprocess.run([tmp_path / target], input=bytes(9), capture_output=True)
        assert torn.returncode == 1 and b"last input has 1 bytes; the network takes 4" in torn.stderr
