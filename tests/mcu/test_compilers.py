"""The generated C under compilers and options that its users may choose: no warning, no error, the same bits."""

import numpy as np
import pytest

from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.lower import lower
from netwright.mcu.run.emulate import BOARDS, emulate
from netwright.mcu.run.host import build_host
from netwright.mcu.run.toolchain import call, missing
from netwright.mcu.schedule.schedule import schedule
from tests.mcu.graphs import mobile
from tests.mcu.toy import compiled_with, emulated

MORE_WARNINGS = (
    "-pedantic", "-Wshadow", "-Wcast-qual", "-Wstrict-prototypes", "-Wundef", "-Wvla", "-Wpointer-arith", "-Wsign-conversion",
    "-Wcast-align", "-Wswitch-default", "-Wfloat-equal", "-Wdouble-promotion", "-Wredundant-decls",
)  # fmt: skip


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    network = lower(mobile())
    emit(network, schedule(network, mode="stream")).write(folder)
    return folder


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).integers(-128, 128, (3, 17 * 17 * 3)).astype(np.int8)


@compiled_with("gcc")
@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=compiled_with("clang"))])
def test_host_compilers_agree_at_every_level_and_have_nothing_to_say(build, inputs, compiler):
    expected = build_host(build, sanitize=True).run(inputs)
    for optimize in ("-O0", "-O3", "-Os"):
        net = build_host(build, compiler=compiler, optimize=optimize, flags=MORE_WARNINGS)
        assert (net.run(inputs) == expected).all(), optimize


@emulated
@compiled_with("gcc")
@pytest.mark.parametrize("cpu", BOARDS)
def test_emulated_processors_agree_with_the_host(build, inputs, cpu):
    expected = build_host(build).run(inputs)
    for optimize in ("-O2", "-O3") if cpu == "cortex-m7" else ("-O2",):
        assert (emulate(build, inputs, cpu=cpu, optimize=optimize).outputs == expected).all(), optimize


@emulated
@pytest.mark.parametrize("options", ["-O0", "-Og -g", "-Os", "-O2 -fPIC", "-O2 -flto"])
def test_cross_compiler_takes_other_options(build, tmp_path, options):
    target = ["-mcpu=cortex-m4", "-mthumb", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
    call(["arm-none-eabi-gcc", *target, *options.split(), "-c", build / "net.c", "-o", tmp_path / "net.o"])


@compiled_with("clang")
def test_clang_compiles_for_the_microcontroller(build, tmp_path):
    target = ["--target=thumbv7em-none-eabi", "-mcpu=cortex-m4", "-mfloat-abi=soft", "-ffreestanding", "-std=c99"]
    (tmp_path / "string.h").write_text(
        "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\nvoid *memmove(void *, const void *, size_t);\n"
        "void *memset(void *, int, size_t);\n"
    )
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wconversion"]
    call(["clang", *target, *warnings, "-O2", f"-I{tmp_path}", "-c", build / "net.c", "-o", tmp_path / "net.o"])


@pytest.mark.skipif(bool(missing("g++")), reason=missing("g++"))
def test_the_header_serves_cpp(build, tmp_path):
    (tmp_path / "use.cpp").write_text('#include "net.h"\nint main() { return net_input() == nullptr; }\n')
    call(
        [
            "g++",
            "-std=c++17",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{build}",
            "-c",
            tmp_path / "use.cpp",
            "-o",
            tmp_path / "use.o",
        ]
    )
