"""`netwright emulate` from outside: what it leaves in the directory it runs, and what it refuses."""

from __future__ import annotations

import pytest

from netwright.core.errors import NetwrightError
from netwright.mcu.run import emulate as emulation
from netwright.mcu.run import hotspots as hot
from netwright.mcu.run.toolchain import read_inputs
from tests.cli.test_verbs import assert_refused, result
from tests.mcu.toy import compiled_with, emulated, write_toy


@pytest.fixture
def build(tmp_path):
    (tmp_path / "build").mkdir()
    return write_toy(tmp_path / "build")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@emulated
@compiled_with("gcc")
def test_the_directory_stays_as_it_is(call, build):
    before = contents(build)
    build.chmod(0o555)
    told = result(call, "emulate", build, "--hot", "--optimize=-Os")
    build.chmod(0o755)
    assert sum(one["instructions"] for one in told["by_function"]) == told["instructions"] > 0
    assert contents(build) == before


@emulated
def test_what_compile_built_stays_beside_it(call, build):
    elf = emulation.build_elf(build, cpu="cortex-m7")
    assert elf == build / "emulated" / "net-cortex-m7.elf"
    before = contents(build)
    result(call, "emulate", build, "--optimize=-O3")
    assert contents(build) == before


@pytest.mark.parametrize("optimize", ["-O0", "-O4", "-Ofast", "O2", "", "-O2 -g", "-fplugin=x.so"])
def test_other_optimizations_are_refused_before_anything_runs(call, build, monkeypatch, optimize):
    def ran(*_words, **_options):
        raise AssertionError("a tool was called")

    monkeypatch.setattr(emulation, "call", ran)
    monkeypatch.setattr(hot, "call", ran)
    monkeypatch.setattr(emulation, "missing", lambda *_tools: "")
    assert_refused(call("emulate", build, f"--optimize={optimize}"), "not known", "-O1, -O2, -O3, -Os")
    for function in (emulation.emulate, hot.hotspots):
        with pytest.raises(NetwrightError, match="Allowed: -O1, -O2, -O3, -Os"):
            function(build, read_inputs(build, None), optimize=optimize)
    assert {path.name for path in build.iterdir()} == {"net.h", "net.c"}


@emulated
def test_every_optimization_gives_the_same_outputs(build):
    inputs = read_inputs(build, None)
    for optimize in emulation.OPTIMIZATIONS:
        assert (emulation.emulate(build, inputs, optimize=optimize).outputs == ~inputs).all()
