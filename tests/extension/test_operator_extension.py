"""An int8 operator from outside the package: its arithmetic, its layer and its C, through library and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.core.tables import load_own
from netwright.graph.files.tflite_writer import write_tflite
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.operators.operator import Operator
from netwright.mcu.run.host import build_host
from netwright.workflow.compile import compile

FILE = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from netwright.mcu.code import LayerData
from netwright.mcu.layer import Layer
from netwright.mcu.operators.operator import Operator

KERNEL = """#ifndef SQUARE_H
#define SQUARE_H
#include <stdint.h>
static void own_square(const int8_t *in, int8_t *out, int32_t count, int32_t zero, int32_t divisor, int32_t zero_out) {
  for (int32_t i = 0; i < count; i++) {
    const int32_t value = (in[i] - zero) * (in[i] - zero) / divisor + zero_out;
    out[i] = (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
  }
}
#endif
"""


def numbers(scale, zero, scale_out, zero_out):
    return zero, max(1, round(float(scale_out) / float(scale) ** 2)), zero_out


def compute(call):
    zero, divisor, zero_out = numbers(*call.of(0), *call.out())
    square = (call.array(0).astype(np.int64) - zero) ** 2
    return np.clip(square // divisor + zero_out, -128, 127).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Square(Layer):
    zero: int
    divisor: int
    zero_out: int

    elementwise: ClassVar[bool] = True

    def streams(self, network):
        return True

    def data(self, network, name):
        return LayerData("", headers={"square.h": KERNEL})

    def call(self, network, name, inputs, out, scratch):
        return self.run(inputs[0], out, network.values[self.output].bytes)

    def row(self, network, name, place):
        return [self.run(place.inputs()[0], place.out, place.elements())]

    def run(self, given, out, count):
        return f"own_square({given}, {out}, {count}, {self.zero}, {self.divisor}, {self.zero_out});"


class InFile(Square):
    def data(self, network, name):
        return LayerData("", headers={"square.h": Path(__file__).parent / "square.h"})


class Wrong(Square):
    def run(self, given, out, count):
        return f"own_square({given}, {out}, {count}, {self.zero}, {self.divisor}, {self.zero_out + 1});"


def rule(layer):
    def lower(work, op):
        (given,) = work.operands(op)
        source = work.value(op, given)
        found = numbers(*work.quantization(op, given), *work.quantization(op, op.outputs[0]))
        work.layers.append(layer((source,), work.make(op, op.outputs[0]), op.path, *found))

    return lower


SQUARE = Operator(("SQUARE", "custom.MINE"), rule(Square), Square, compute)
IN_FILE = Operator(("SQUARE",), rule(InFile), InFile, compute)
WRONG = Operator(("SQUARE",), rule(Wrong), Wrong, compute)
BOTH = [SQUARE]
NONE = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    (tmp_path / "square.h").write_text(load_own(f"{path}:KERNEL"))
    return path


def model() -> QuantizedGraph:
    """A convolution, the operator, a convolution."""
    build, rng = GraphBuilder(), np.random.default_rng(0)
    x = build.input("x", (1, 12, 9, 3), quantization(0.05, 3))
    for channels, source in ((8, 3), (5, 8)):
        weights = rng.integers(-127, 128, (channels, 3, 3, source)).astype(np.int8)
        made = build.constant(f"w{channels}", weights, quantization(0.01))
        options = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
        x = build.op("CONV_2D", [x, made], (1, 12, 9, channels), quantization(0.05, -7), **options)
        if source == 3:
            x = build.op("SQUARE", [x], (1, 12, 9, channels), quantization(0.06, -128))
    return build.build([x])


@pytest.mark.parametrize("mode", ["layers", "stream", "patch"])
@pytest.mark.parametrize("name", ["SQUARE", "BOTH", "IN_FILE"])
def test_the_library_compiles_it_and_proves_it(file: Path, tmp_path: Path, name: str, mode: str) -> None:
    compiled = compile(model(), out=tmp_path / "net", operators=f"{file}:{name}", schedule=mode)
    assert compiled.proven.startswith("equal to the interpreter")
    assert "own_square(" in (tmp_path / "net" / "net.c").read_text()
    assert (tmp_path / "net" / "square.h").read_text() == load_own(f"{file}:KERNEL")
    build_host(tmp_path / "net", sanitize=True).run(np.zeros((2, 12, 9, 3), np.int8))


def test_an_operator_of_custom_code(file: Path, tmp_path: Path) -> None:
    own = load_own(f"{file}:SQUARE")
    assert isinstance(own, Operator)
    made = model()
    renamed = {"tflite.SQUARE": "tflite.custom.MINE"}
    ops = tuple(replace(op, kind=renamed.get(op.kind, op.kind)) for op in made.graph.ops)
    compiled = compile(replace(made, graph=replace(made.graph, ops=ops)), out=tmp_path / "net", operators=own)
    assert compiled.proven.startswith("equal to the interpreter")


def test_the_command_line_compiles_it(file: Path, tmp_path: Path) -> None:
    write_tflite(model(), tmp_path / "net.tflite")
    words = [sys.executable, "-m", "netwright", "compile", "net.tflite", "--out", "build"]
    refused = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and "SQUARE" in refused.stderr and "--operators" in refused.stderr
    done = subprocess.run(
        [*words, "--operators", "mine.py:SQUARE", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["proven"].startswith("equal to the interpreter")
    assert [row["kind"] for row in told["ops"]] == ["conv", "square", "conv"]


def test_c_that_differs_from_its_arithmetic_is_not_handed_out(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match=r"differs from the interpreter.*SQUARE"):
        compile(model(), out=tmp_path / "net", operators=f"{file}:WRONG")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("NONE", "is a int; a Operator is needed"), ("SQUAR", "name .SQUAR. is not known"), ("", "Which name of")],
)
def test_what_is_no_operator_is_refused(file: Path, tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(NetwrightError, match=says):
        compile(model(), out=tmp_path / "net", operators=f"{file}:{name}")


def test_an_operator_needs_arithmetic_and_names(file: Path, tmp_path: Path) -> None:
    rule = load_own(f"{file}:SQUARE").lower
    with pytest.raises(NetwrightError, match="arithmetic of operator SQUARE is not known"):
        compile(model(), out=tmp_path / "net", operators=Operator(("SQUARE",), rule))
    with pytest.raises(NetwrightError, match="tuple is needed"):
        Operator("SQUARE", rule)  # pyright: ignore[reportArgumentType]
