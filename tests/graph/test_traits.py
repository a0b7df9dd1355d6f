"""The table of traits against what torch itself says of its operations."""

import pytest
import torch

from netwright.core.torch_internals import schema_of
from netwright.graph.operations import aten
from netwright.graph.operations.table import TABLE, traits_of
from netwright.graph.operations.traits import UNKNOWN, Traits, rows

NAMES = [kind.removeprefix("aten.") for kind in aten.TRAITS]
# Seeded in torch only because of a dropout that may be asked for, or because of how a kernel is tuned.
SELDOM = ("attention", "_rnn", "lstm", "gru", "rnn_tanh", "rnn_relu")
# Of torch's operators that build shapes, some have no in-place form though their result may be written over an input.
OUT_OF_PLACE = {"maximum", "minimum", "where", "_prelu_kernel", "prelu", "gelu", "softplus", "log_sigmoid", "rsub"}


def overloads(name: str) -> list:
    packets = [getattr(torch.ops.aten, each) for each in (name, name + "_") if hasattr(torch.ops.aten, each)]
    return [getattr(packet, overload) for packet in packets for overload in packet.overloads()]


def arguments(name: str) -> set[str]:
    return {argument.name for overload in overloads(name) for argument in schema_of(overload).arguments}


def test_every_row_is_an_operation_of_torch():
    assert [name for name in NAMES if not overloads(name)] == []


def test_what_draws_random_numbers_is_what_torch_seeds():
    for name in NAMES:
        if not any(part in name for part in SELDOM):
            seeded = any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads(name))
            assert aten.TRAITS[f"aten.{name}"].random == seeded, name


def test_what_may_work_in_place_torch_does_in_place_too():
    marked = {name for name in NAMES if aten.TRAITS[f"aten.{name}"].in_place}
    assert {name for name in marked if not hasattr(torch.ops.aten, name + "_")} <= OUT_OF_PLACE


def test_named_arguments_exist():
    for name in NAMES:
        traits = aten.TRAITS[f"aten.{name}"]
        named = {*traits.shape_only, *(argument for argument, _ in traits.packed), *traits.operands}
        assert named <= arguments(name), name
        assert not traits.needs or "output_mask" in arguments(name), name


def test_in_place_operations_are_found_by_the_name_without_underscore():
    assert traits_of("aten.relu_") is traits_of("aten.relu") is TABLE["aten.relu"]
    assert traits_of("aten.relu", {"aten.relu": UNKNOWN}) is UNKNOWN
    assert traits_of("my.op") is UNKNOWN


def test_an_operation_stands_in_one_row():
    with pytest.raises(ValueError, match=r"my\.b stands in two rows"):
        dict(rows("my", (Traits("move"), "a b"), (Traits("norm"), "c b")))
