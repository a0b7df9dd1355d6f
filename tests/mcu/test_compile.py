"""From a quantized graph to a directory of C: right, clean, whole, and honest about what does not fit."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.interpret import interpret
from netwright.mcu.compile import compile_network
from netwright.mcu.lower.border import as_bytes, as_tensors
from netwright.mcu.lower.lower import lower
from netwright.mcu.run.host import build_host
from netwright.mcu.run.toolchain import call
from netwright.mcu.schedule.schedule import MODES
from tests.mcu.graphs import mobile

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def expected(model, inputs):
    network = lower(model)
    return as_bytes(model, network, interpret(model, as_tensors(model, network, inputs)))


def images(count=8, side=17, seed=1):
    return np.random.default_rng(seed).integers(-128, 128, (count, side * side * 3), dtype=np.int8)


@pytest.mark.parametrize("mode", MODES)
def test_every_schedule_gives_the_interpreters_bits_under_sanitizers(tmp_path, mode):
    model, inputs = mobile(), images()
    compile_network(model, tmp_path / "net", mode=mode)
    host = build_host(tmp_path / "net", sanitize=True)
    np.testing.assert_array_equal(host.run(inputs), expected(model, inputs))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_weights_in_sram_and_an_arena_of_the_callers_choice(tmp_path, compiler):
    model, inputs = mobile(3), images(3)
    compiled = compile_network(model, tmp_path / "net", weights="sram")
    text = (tmp_path / "net" / "net_data.h").read_text()
    assert "static const int8_t " not in text
    assert compiled.sram_bytes > compiled.plan.arena_bytes + sum(
        layer.weights.size for layer in compiled.network.layers if hasattr(layer, "weights")
    )
    caller = tmp_path / "net" / "arena.c"
    caller.write_text('#include "net.h"\n__attribute__((aligned(16))) int8_t net_arena[NET_ARENA_BYTES];\n')
    host = build_host(tmp_path / "net", compiler=compiler, flags=("-DNET_ARENA_EXTERNAL", str(caller)))
    np.testing.assert_array_equal(host.run(inputs), expected(model, inputs))


def test_an_input_in_the_arena_and_one_outside_give_the_same(tmp_path):
    model = mobile(5)
    compile_network(model, tmp_path / "net")
    caller = tmp_path / "both.c"
    caller.write_text(
        """#include <stdio.h>
#include <string.h>
#include "net.h"
int main(void) {
  static int8_t image[NET_INPUT_BYTES], kept[NET_INPUT_BYTES], first[NET_OUTPUT_BYTES], second[NET_OUTPUT_BYTES];
  for (int i = 0; i < NET_INPUT_BYTES; i++) image[i] = (int8_t)(i * 37 % 251 - 125);
  memcpy(kept, image, sizeof image);
  net_invoke(image, first);
  if (memcmp(kept, image, sizeof image) != 0) return 1;
  memset(net_arena, 0x5a, NET_ARENA_BYTES);
  memcpy(net_input(), image, sizeof image);
  net_invoke(net_input(), second);
  return memcmp(first, second, sizeof first) == 0 ? 0 : 2;
}
"""
    )
    program = tmp_path / "both"
    call(
        [
            "gcc",
            "-std=c99",
            "-Wall",
            "-Werror",
            f"-I{tmp_path / 'net'}",
            tmp_path / "net" / "net.c",
            caller,
            "-o",
            program,
        ]
    )
    call([program])  # raises if it does not end with 0


def test_the_same_network_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        compile_network(mobile(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir() if path.is_file())
    assert "net.c" in files and "README.md" in files and "net.json" in files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_the_code_asks_for_no_heap_and_no_library_but_memory_functions(tmp_path):
    compile_network(mobile(), tmp_path / "net")
    kernels = {path.name: path.read_text() for path in (tmp_path / "net").glob("*.[ch]") if path.name != "host.c"}
    allowed = {"<stdint.h>", "<string.h>", "<stddef.h>", "<arm_acle.h>"}
    for name, text in kernels.items():
        included = set(re.findall(r"#include (<\w+\.h>)", text))
        assert included <= allowed, (name, included - allowed)
        assert not re.search(r"\b(malloc|calloc|free|printf|alloca)\s*\(", text), name


def test_what_does_not_fit_says_by_how_much_and_where(tmp_path):
    compiled = compile_network(mobile(), tmp_path / "net", sram_bytes=700, flash_bytes=1000, mode="layers")
    assert compiled.fits == {"sram": False, "flash": False}
    sram, flash = compiled.advice
    assert f"{compiled.sram_bytes - 700:,} more than" in sram and "conv_2d" in sram and "--schedule auto" in sram
    assert f"{compiled.sizes.flash_bytes - 1000:,} more than" in flash


def test_a_tighter_limit_is_kept_by_another_schedule(tmp_path):
    layers = compile_network(mobile(side=33), tmp_path / "a", mode="layers")
    least = compile_network(mobile(side=33), tmp_path / "b", mode="stream")
    assert least.plan.arena_bytes < layers.plan.arena_bytes
    between = (least.plan.arena_bytes + layers.plan.arena_bytes) // 2
    compiled = compile_network(mobile(side=33), tmp_path / "c", sram_bytes=between)
    assert compiled.fits["sram"] and compiled.plan.arena_bytes <= between


def test_a_place_that_holds_something_else_is_refused_and_an_earlier_result_replaced(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    with pytest.raises(NetwrightError, match="holds other files"):
        compile_network(mobile(), place)
    assert (place / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    with pytest.raises(NetwrightError, match="is a file"):
        compile_network(mobile(), tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]


def test_compiling_again_replaces_its_own_files_and_keeps_those_of_others(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "net").symlink_to("real")
    compile_network(mobile(), tmp_path / "net")
    (tmp_path / "net" / "my_main.c").write_text("mine")
    manifest = json.loads((tmp_path / "net" / "net.json").read_text())
    (tmp_path / "net" / "nw_old.h").write_text("of an earlier version")
    (tmp_path / "net" / "net.json").write_text(json.dumps({**manifest, "files": [*manifest["files"], "nw_old.h"]}))
    compile_network(mobile(1), tmp_path / "net")
    assert (tmp_path / "net").is_symlink()
    assert (tmp_path / "real" / "my_main.c").read_text() == "mine"
    assert not (tmp_path / "net" / "nw_old.h").exists()
    assert {path.name for path in (tmp_path / "net").iterdir()} == {*manifest["files"], "my_main.c"}


def test_a_failure_leaves_the_earlier_result_as_it_was(tmp_path, monkeypatch):
    compile_network(mobile(), tmp_path / "net")
    before = {path.name: path.read_bytes() for path in (tmp_path / "net").iterdir()}

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("netwright.mcu.compile.prove", broken)
    for place in ("net", "other"):
        with pytest.raises(KeyboardInterrupt):
            compile_network(mobile(1), tmp_path / place)
    assert {path.name: path.read_bytes() for path in (tmp_path / "net").iterdir()} == before
    assert not (tmp_path / "other").exists()


def test_weights_in_sram_leave_less_to_the_arena(tmp_path):
    model = mobile(side=33)
    loose = compile_network(model, tmp_path / "a", weights="sram", mode="layers")
    tight = loose.sram_bytes - 500
    compiled = compile_network(model, tmp_path / "b", weights="sram", sram_bytes=tight)
    assert compiled.fits["sram"] and compiled.sram_bytes <= tight
    assert "copies them from flash to SRAM" in (tmp_path / "b" / "README.md").read_text()


@pytest.mark.parametrize("inputs", [1, 2])
def test_the_readmes_example_compiles_and_clamps(tmp_path, inputs):
    graph = GraphBuilder()
    ends = [graph.input(f"x{number}", (1, 2, 2, 1), quantization(1.0, -128)) for number in range(inputs)]
    compile_network(
        graph.build([graph.op("ADD", [ends[0], ends[-1]], (1, 2, 2, 1), quantization(2.0, -128))]), tmp_path
    )
    lines = re.findall(r"^    (.*)$", (tmp_path / "README.md").read_text(), re.MULTILINE)
    example = [line for line in lines[: lines.index(next(line for line in lines if "gcc" in line))] if line]
    (tmp_path / "main.c").write_text(
        "#include <math.h>\n"
        + "\n".join(example[:6])
        + "\nint main(void) {\n  float real = 255.0f;\n"
        + "\n".join(example[6:])
        + "\n  return real0 > 0 && input[0] == 127 ? 0 : 1;\n}\n"
    )
    call(
        ["gcc", "-std=c99", "-Wall", "-Werror", tmp_path / "main.c", tmp_path / "net.c", "-lm", "-o", tmp_path / "main"]
    )
    call([tmp_path / "main"])  # raises if it does not end with 0
