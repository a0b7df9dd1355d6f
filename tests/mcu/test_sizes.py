"""Flash without a cross-compiler: close to what the linker says where there is one."""

from __future__ import annotations

import pytest

from netwright.mcu.compile import compile_network
from netwright.mcu.emit.emit import emit
from netwright.mcu.lower.lower import lower
from netwright.mcu.price.sizes import predicted_code_bytes, predicted_sizes
from netwright.mcu.run.emulate import TOOLS
from netwright.mcu.run.toolchain import missing
from netwright.mcu.schedule.schedule import schedule
from tests.mcu.graphs import mobile


def predicted(model):
    network = lower(model)
    return predicted_sizes(emit(network, schedule(network)), len(network.layers)), network


def test_every_weight_is_among_the_constants():
    sizes, network = predicted(mobile())
    weights = sum(layer.weights.size for layer in network.layers if hasattr(layer, "weights"))
    assert weights < sizes.constant_bytes < 4 * weights + 100 * len(network.layers)
    assert sizes.origin.startswith("predicted")


@pytest.mark.skipif(bool(missing(*TOOLS)), reason=missing(*TOOLS))
def test_the_prediction_is_near_the_linkers_sizes(tmp_path):
    measured = compile_network(mobile(), tmp_path / "net").sizes
    sizes, _ = predicted(mobile())
    assert measured.origin.startswith("measured")
    assert sizes.constant_bytes == pytest.approx(measured.constant_bytes, rel=0.05)
    assert sizes.code_bytes == pytest.approx(measured.code_bytes, rel=0.25)


def test_code_that_is_inlined_into_its_callers_is_not_counted_twice():
    assert predicted_code_bytes(("nw_pool.h",), 2) == predicted_code_bytes(("nw_pool.h", "nw_matrix.h", "nw_sum.h"), 2)
    assert predicted_code_bytes((), 3) - predicted_code_bytes((), 2) == predicted_code_bytes((), 1) > 0


def test_without_tools_the_sizes_are_predicted_and_nothing_is_proven(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    compiled = compile_network(mobile(), tmp_path / "net")
    assert compiled.sizes.origin.startswith("predicted")
    assert compiled.proven.startswith("not proven") and "apt-get install gcc" in compiled.proven
    assert (tmp_path / "net" / "net.c").is_file()
