"""The whole profile of a module: its figures agree with each other and with the network's own formulas."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import netwright
from netwright.core.errors import NetwrightError
from netwright.cost.layers import tree
from netwright.cost.profile import profile
from netwright.device.machines import machine
from netwright.models.families import family

KEYS = {
    "model", "input", "dtype", "params", "macs", "flops", "unpriced", "peak_memory_bytes", "peak_tensors", "training",
    "bytes_moved", "energy_mj", "latency_ms", "layers",
}  # fmt: skip


def image(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    made = family("tiny")
    return made.build(made.space.largest())


def test_counts_are_those_of_the_family(tiny: nn.Module) -> None:
    made = family("tiny")
    largest = made.space.largest()
    found = netwright.profile(tiny, image(1, 3, 32, 32))
    assert found.macs == made.macs(largest)
    assert found.params == made.params(largest)


def test_layers_and_tree_add_up(tiny: nn.Module) -> None:
    found = profile(tiny, image(2, 3, 32, 32), device=machine("a100"))
    root = tree(found.layers)
    assert root.macs == found.macs
    assert root.params == found.params
    assert root.bytes_moved == found.bytes_moved
    assert found.roofline is not None
    assert math.isclose(root.bound_ms, found.roofline.total.value)
    assert found.latency_ms is not None
    assert found.latency_ms.value <= root.bound_ms
    for node in root.children.values():
        assert sum(child.macs for child in node.children.values()) <= node.macs


def test_the_batch_multiplies_work_and_memory_but_no_parameters(tiny: nn.Module) -> None:
    one, four = (profile(tiny, image(batch, 3, 32, 32)) for batch in (1, 4))
    assert four.macs == 4 * one.macs
    assert four.memory.peak_bytes == 4 * one.memory.peak_bytes
    assert four.params == one.params


def test_json_has_the_keys_of_the_contract_and_nothing_that_json_cannot_say(tiny: nn.Module) -> None:
    found = profile(tiny, image(8, 3, 32, 32), device=machine("a100"), train="last", optimizer="adam")
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told.keys() >= KEYS
    assert told["training"].keys() >= {
        "mode", "batch", "saved_bytes", "saved_bytes_frozen_aware", "gradient_bytes", "optimizer_bytes", "weight_bytes",
        "total_bytes",
    }  # fmt: skip
    assert told["training"]["batch"] == 8
    assert told["latency_ms"]["kind"] == "bounded"
    assert told["energy_mj"]["kind"] == "predicted"
    assert not told["unpriced"]


def test_narrow_types_take_less_memory(tiny: nn.Module) -> None:
    wide, narrow = (profile(tiny, image(1, 3, 32, 32), dtype=dtype).memory.peak_bytes for dtype in (None, "int8"))
    assert wide == 4 * narrow


def test_measured_time_covers_every_operation(tiny: nn.Module) -> None:
    found = profile(tiny, image(1, 3, 32, 32), measure=True)
    assert found.latency_ms is not None
    assert found.latency_ms.kind == "measured"
    assert found.timed is not None
    assert math.isclose(sum(layer.measured_ms or 0.0 for layer in found.layers), 1e3 * sum(found.timed.ops_s))


def test_savings_name_the_dense_convolution_and_what_it_would_save() -> None:
    """A 3x3 convolution of 64 to 64 channels as depthwise and pointwise: 1/64 + 1/9 of the work stays."""
    found = profile(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False)), image(1, 64, 32, 32))
    (separable,) = [saving for saving in found.savings if saving.unit == "MACs"]
    assert separable.share == pytest.approx(1 - 1 / 64 - 1 / 9, abs=1e-4)
    assert " 0 " in separable.what


def test_at_most_three_savings_the_largest_first(tiny: nn.Module) -> None:
    shares = [saving.share for saving in profile(tiny, image(1, 3, 32, 32), train="bias").savings]
    assert 0 < len(shares) <= 3
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= 0.01


def test_notebooks_see_the_totals_escaped() -> None:
    found = profile(nn.Linear(3, 2), image(1, 3), name="<net>")
    assert "<caption>&lt;net&gt;</caption>" in found._repr_html_()
    assert "<td>6</td>" in found._repr_html_()


def test_profiling_leaves_the_module_in_its_mode(tiny: nn.Module) -> None:
    tiny.eval()
    profile(tiny, image(2, 3, 32, 32), train="full")
    assert not any(part.training for part in tiny.modules())


def test_without_an_input_the_error_says_what_to_give(tiny: nn.Module) -> None:
    with pytest.raises(NetwrightError, match=r"torch\.empty\(1, 3, 224, 224\)"):
        profile(tiny)
