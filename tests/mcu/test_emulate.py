from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.mcu.run.emulate import BOARDS, emulate
from netwright.mcu.run.hotspots import hotspots
from tests.mcu.toy import NEGATE, compiled_with, emulated, write_toy

INPUTS = np.random.default_rng(0).integers(-128, 128, (5, 4)).astype(np.int8)
LOOP = """  uint32_t left = (uint32_t)input[0] * 65536u + (uint8_t)input[1] * 256u + (uint8_t)input[2] + 1u;
  __asm__ volatile("1: subs %0, %0, #1\\n\\tbne 1b" : "+r"(left) : : "cc");
  output[0] = 0;"""


@emulated
@pytest.mark.parametrize("cpu", BOARDS)
def test_outputs_and_exact_instructions(tmp_path, cpu):
    write_toy(tmp_path, NEGATE + "\n" + LOOP)
    counts = [0, 1, 1000, 123_456, 3_000_001]
    inputs = np.array([[n >> 16, n >> 8 & 255, n & 255, 7] for n in counts], np.uint8).view(np.int8)
    done = emulate(tmp_path, inputs, cpu=cpu)
    assert (done.outputs[:, 1:] == ~inputs[:, 1:]).all()
    # Each turn of the loop takes two instructions, however many there are.
    assert (done.instructions - done.instructions[0] == 2 * np.array(counts)).all()
    assert 20 < done.instructions[0] < 100
    assert done.arena_bytes == done.ram_bytes == 16


@emulated
def test_folders_of_any_name(tmp_path, monkeypatch):
    (tmp_path / "a b,c=d$e").mkdir()
    write_toy(tmp_path / "a b,c=d$e")
    monkeypatch.chdir(tmp_path)
    assert (emulate(Path("a b,c=d$e"), INPUTS).outputs == ~INPUTS).all()


@emulated
@pytest.mark.slow
def test_counts_beyond_32_bits_of_ticks(tmp_path):
    body = """  uint32_t left = (uint32_t)(uint8_t)input[0] * 10000000u + 1u;
  __asm__ volatile("1: subs %0, %0, #1\\n\\tbne 1b" : "+r"(left) : : "cc");
  output[0] = 0;"""
    turns = [0, 40, 80]
    done = emulate(write_toy(tmp_path, body), np.array([[n, 0, 0, 0] for n in turns], np.int8))
    assert np.diff(done.instructions).tolist() == [800_000_000, 800_000_000]


@emulated
def test_stack_and_flash_are_counted_to_the_byte(tmp_path):
    body = "  volatile int8_t deep[{deep}];\n  deep[0] = table[input[0] & 3];\n  output[0] = deep[0];"
    table = "static const int8_t table[{many}] = {{1, 2, 3, 4}};"
    found = {}
    for deep, many in ((64, 64), (640, 64), (64, 6400)):
        write_toy(tmp_path, body.format(deep=deep), outside=table.format(many=many))
        found[deep, many] = emulate(tmp_path, INPUTS)
    least = found[64, 64]
    assert 64 <= least.stack_bytes < 96 and least.outputs[:, 0].tolist() == [(int(x) & 3) + 1 for x in INPUTS[:, 0]]
    assert found[640, 64].stack_bytes - least.stack_bytes == 576
    assert found[64, 6400].flash_bytes - least.flash_bytes == 6336
    assert found[64, 6400].code_bytes == least.code_bytes == least.flash_bytes - 64


@emulated
@compiled_with("gcc")
def test_hotspots_count_what_the_clock_counts(tmp_path):
    twice = """static __attribute__((noinline)) int8_t twice(int8_t x) {
  return (int8_t)(x * 2);
}"""
    body = """  /* first */
  output[0] = twice(input[0]);
  /* second */
  output[1] = (int8_t)(twice(input[1]) + twice(output[0]));"""
    write_toy(tmp_path, body, outside='#include "shared.h"')
    (tmp_path / "shared.h").write_text(twice)
    found = hotspots(tmp_path, INPUTS, keep=tmp_path / "kept")
    assert (tmp_path / "kept" / "net-cortex-m7.elf").is_file()
    assert found.instructions == sum(found.addresses.values()) == emulate(tmp_path, INPUTS).instructions[0]
    functions = dict(found.by("function"))
    assert set(functions) == {"net_invoke", "twice"}
    steps = {
        step: sum(s.instructions for s in found.spots if s.step == step and s.function == "twice")
        for step, _ in found.by("step")
    }
    first, second = (
        next(n for step, n in steps.items() if step.startswith(f"/* {name} */")) for name in ("first", "second")
    )
    assert second == 2 * first == 2 * functions["twice"] // 3 > 0


@emulated
@pytest.mark.parametrize(
    "body", ["  output[0] = *(const volatile int8_t *)0xF0000000u;", '  __asm__ volatile("udf #0");']
)
def test_a_fault_is_told(tmp_path, body):
    write_toy(tmp_path, f"  (void)input, (void)output;\n{body}")
    with pytest.raises(NetwrightError, match="status 3"):
        emulate(tmp_path, INPUTS)


@emulated
def test_what_does_not_fit_the_board_is_refused(tmp_path):
    write_toy(tmp_path, arena=8 << 20)
    with pytest.raises(NetwrightError, match=r"arena of 8,388,608 bytes does not fit the 4,194,304 bytes"):
        emulate(tmp_path, INPUTS)


@emulated
@pytest.mark.parametrize("cpu", BOARDS)
def test_large_constants_go_to_the_larger_memory(tmp_path, cpu):
    outside = "extern const int8_t big[6000000];\nconst int8_t big[6000000] = {[5999999] = 77};"
    write_toy(tmp_path, "  output[0] = big[5999999 - 2 * (input[0] & 1)];", outside=outside)
    done = emulate(tmp_path, np.array([[2, 0, 0, 0], [1, 0, 0, 0]], np.int8), cpu=cpu)
    assert done.outputs[:, 0].tolist() == [77, 0] and done.flash_bytes >= 6_000_000


def test_unknown_processors_are_refused(tmp_path):
    write_toy(tmp_path)
    with pytest.raises(NetwrightError, match="cortex-m7"):
        emulate(tmp_path, INPUTS, cpu="cortex-m8")


def test_without_the_tools_the_packages_are_named(tmp_path, monkeypatch):
    write_toy(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetwrightError, match="apt-get install gcc-arm-none-eabi"):
        emulate(tmp_path, INPUTS)
