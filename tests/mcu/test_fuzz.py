import tempfile
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.files.tflite import parse_tflite
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.lower import lower
from netwright.mcu.operators.table import by_name
from netwright.mcu.run.host import build_host
from netwright.mcu.schedule.schedule import schedule
from tests.mcu.fuzz_cases import case, hostile, places, read_and_plan, seeds
from tests.mcu.simple_cases import inputs_of, wanted
from tests.mcu.toy import compiled_with


def test_seeds_are_good_and_the_reader_looks_at_much_of_them():
    assert [read_and_plan(seed) for seed in seeds()] == ["planned"] * len(seeds())
    assert all(len(places(seed)) > 300 for seed in seeds())
    used = {op.kind.removeprefix("tflite.") for seed in seeds() for op in parse_tflite(seed).graph.ops}
    assert set(by_name()) <= used


STAGES = ("reading", "lowering", "planning", "planned")


def test_only_errors_that_explain_escape():
    """600 of the cases of benchmarks/mcu_fuzz.py; a number names a case for ever."""
    refused = dict.fromkeys(STAGES, 0)
    for number in range(600):
        refused[read_and_plan(case(number).data)] += 1
    # All stages are reached: the files are not all refused at the door.
    assert refused["reading"] > 100 and refused["lowering"] > 30 and refused["planned"] > 60, refused


def test_files_made_to_exhaust_do_not():
    for one in hostile():
        assert read_and_plan(one.data) in STAGES, one.kind  # and it ends


@pytest.mark.parametrize("shapes", [((1, 2, 3), (1, 6), (1, 6)), ((1, 6), (1, 6), (1, 5))])
def test_floats_at_the_ends_have_the_shape_of_their_integers(shapes):
    build, q = GraphBuilder(), quantization(0.1)
    x = build.op("QUANTIZE", [build.input("x", shapes[0], None, dtype="float32")], shapes[1], q)
    y = build.op("DEQUANTIZE", [build.op("RELU", [x], shapes[1], q)], shapes[2], None, dtype="float32")
    with pytest.raises(NetwrightError, match="shape"):
        lower(build.build([y]))


@compiled_with("gcc")
@pytest.mark.parametrize("numbers", [range(40), pytest.param(range(40, 1000), marks=pytest.mark.slow)])
def test_what_is_accepted_becomes_c_that_is_right(numbers):
    """A damaged file that still makes sense gives C that sanitizers pass and that agrees with the interpreter."""
    built = 0
    for number in numbers:
        data = case(number).data
        try:
            model = parse_tflite(data)
            network = lower(model)
            plan = schedule(network)
        except NetwrightError:
            continue
        with tempfile.TemporaryDirectory() as folder:
            emit(network, plan).write(Path(folder))
            inputs = inputs_of(network, np.random.default_rng(0), 3)
            outputs = build_host(Path(folder), sanitize=True, optimize="-O0").run(inputs)
        assert (outputs == wanted(model, network, inputs)).all(), number
        built += 1
    assert built > 3
