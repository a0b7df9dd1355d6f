"""A price for an operation of one's own, from outside the package: through the library and the command line."""

from __future__ import annotations

import json
import textwrap

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.profile import profile
from netwright.graph.capture.trace import capture

FILE = """
import torch
from torch import Tensor, nn

from netwright.cost.rules.work import Work, out_elements, products, shape
from netwright.graph.operations.traits import Traits


@torch.library.custom_op("outsider::swirl", mutates_args=())
def swirl(x_BCHW: Tensor, weight_CK: Tensor) -> Tensor:
    return x_BCHW * weight_CK.sum()


@swirl.register_fake
def _(x_BCHW, weight_CK):
    return torch.empty_like(x_BCHW)


@torch.library.custom_op("outsider::bend", mutates_args=())
def bend(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.sin() + 1


@bend.register_fake
def _(x_BCHW):
    return torch.empty_like(x_BCHW)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.weight = nn.Parameter(torch.ones(4, 9))
        self.head = nn.Linear(4, 2)

    def forward(self, x_BCHW):
        y = torch.ops.outsider.swirl(self.conv(x_BCHW), self.weight)
        return self.head(torch.ops.outsider.bend(y).mean((2, 3)))


def network():
    return Net()


def price(graph, op):
    return products(shape(graph, op, "weight_CK")[-1] * out_elements(graph, op))


RULES = {"outsider::swirl": price, "outsider::bend": Traits("elementwise", each=2, in_place=True)}
WRONG = {"outsider::swirl": lambda graph, op: 3}
BROKEN = {"outsider::swirl": lambda graph, op: op.arguments["no such"]}
NOT_A_RULE = {"outsider::swirl": 3}
NOT_A_FORMULA = {"outsider::swirl": Traits("matmul", formula="matmull")}
"""
ELEMENTS = 4 * 8 * 8


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "outsider.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.fixture(scope="module")
def own(file):
    from netwright.core.tables import load_own

    return lambda name: load_own(f"{file}:{name}")


def test_without_a_rule_the_operation_is_listed_as_unpriced(own):
    found = profile(own("Net")(), torch.empty(1, 3, 8, 8))
    assert {one.kind for one in found.counts.unpriced} == {"outsider.swirl", "outsider.bend"}


def test_through_the_library(own):
    x = torch.empty(1, 3, 8, 8)
    plain = profile(own("Net")(), x)
    found = profile(own("Net")(), x, rules=own("RULES"))
    assert not found.counts.unpriced
    assert found.macs == plain.macs + 9 * ELEMENTS
    assert found.flops == plain.flops + 2 * 9 * ELEMENTS + 2 * ELEMENTS
    assert count(capture(own("Net")(), x), rules=own("RULES")).macs == found.macs


def test_traits_of_ones_own_reach_the_memory_plan(own):
    """Bend may be written over its input, so of the two tensors only one is alive."""
    x = torch.empty(1, 3, 8, 8)
    plain, found = profile(own("Net")(), x), profile(own("Net")(), x, rules=own("RULES"))
    assert plain.memory.peak_bytes == 2 * 4 * ELEMENTS
    assert found.memory.timeline[-3] == plain.memory.timeline[-3] - 4 * ELEMENTS


def test_through_the_command_line(file, call):
    words = ("profile", f"{file}:network", "--input", "1x3x8x8")
    plain = json.loads(call(*words, "--json").out)
    found = json.loads(call(*words, "--rules", f"{file}:RULES", "--strict", "--json").out)
    assert found["macs"] == plain["macs"] + 9 * ELEMENTS
    assert [one["kind"] for one in plain["unpriced"]] and not found["unpriced"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("WRONG", ["outsider.swirl returned a int", "Work"]),
        ("BROKEN", ["outsider.swirl failed", "KeyError", "x_BCHW, weight_CK"]),
        ("NOT_A_RULE", ["outsider::swirl is a int", "function"]),
        ("NOT_A_FORMULA", ["'matmull' is not known", "Did you mean 'matmul'"]),
        ("network", ["rules are a function", "dictionary"]),
        ("RULE", ["'RULE' is not known"]),
    ],
)
def test_what_is_no_rule_is_refused(file, own, name, words):
    with pytest.raises(NetwrightError) as refused:
        profile(own("Net")(), torch.empty(1, 3, 8, 8), rules=f"{file}:{name}")
    assert all(word in str(refused.value) for word in words)


def test_a_rule_for_torchs_own_operation_takes_its_place():
    x = torch.empty(1, 100)
    found = profile(torch.nn.ReLU(), x, rules={"aten::relu": lambda graph, op: None})
    assert [one.kind for one in found.counts.unpriced] == ["aten.relu"]
    assert found.memory.peak_bytes == profile(torch.nn.ReLU(), x).memory.peak_bytes
