"""The proof at the end of a compilation finds C that is wrong, and nothing of it is handed out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.mcu.compile import compile_network
from netwright.mcu.emit import emit
from netwright.mcu.network import Conv, Lookup


def model() -> QuantizedGraph:
    """A convolution and a table, each value of which is met: 4 x 1,536 values in the proof."""
    build = GraphBuilder()
    x = build.input("x", (1, 16, 16, 6), quantization(0.05, 3))
    weights = np.random.default_rng(0).integers(-127, 128, (6, 1, 1, 6)).astype(np.int8)
    made = build.constant("w", weights, quantization(0.01))
    x = build.op("CONV_2D", [x, made], (1, 16, 16, 6), quantization(0.05), stride_h=1, stride_w=1, padding="SAME")
    return build.build([build.op("LOGISTIC", [x], (1, 16, 16, 6), quantization(1 / 256, -128))])


def wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that leaves out the last element of what it is given."""
    right = emit._kernel

    def kernel(file: str) -> str:
        text = right(file)
        return text.replace("for (; i < count; i++)", "for (; i < count - 1; i++)").replace(
            "i + 4 <= count", "i + 4 < count"
        )

    monkeypatch.setattr(emit, "_kernel", kernel)


def wrong_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in which one of 256 entries is one higher."""
    right = Lookup.data

    def data(self: Lookup, *given):
        table = self.table.copy()
        table[100] += 1
        return right(dataclasses.replace(self, table=table), *given)

    monkeypatch.setattr(Lookup, "data", data)


def wrong_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias a quarter of a step too high, which changes a quarter of one channel's results."""
    right = Conv.data

    def data(self: Conv, *given):
        bias = self.requantize.bias.copy()
        bias[2] += int(2.0 ** (29 - int(self.requantize.shift[2])) / int(self.requantize.multiplier[2]))
        return right(
            dataclasses.replace(self, requantize=dataclasses.replace(self.requantize, bias=bias)),
            *given,
        )

    monkeypatch.setattr(Conv, "data", data)


@pytest.mark.parametrize("fault", [wrong_kernel, wrong_table, wrong_bias])
def test_wrong_c_is_found_and_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault) -> None:
    compiled = compile_network(model(), tmp_path / "right")
    assert compiled.proven.startswith("equal to the interpreter, bit for bit, on 4 random inputs (6144 output values)")
    before = {path.name: path.read_bytes() for path in (tmp_path / "right").iterdir()}
    fault(monkeypatch)
    for place in ("right", "new"):
        with pytest.raises(NetwrightError, match=r"differs from the interpreter in [1-9]"):
            compile_network(model(), tmp_path / place)
    assert {path.name: path.read_bytes() for path in (tmp_path / "right").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["right"]
