"""The table of int8 operators: whole, of one piece, and read without emission."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from netwright.graph.integers.interpret import KERNELS
from netwright.mcu import network
from netwright.mcu.layer import Layer
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.table import OPERATORS, by_name, own_operators


def test_every_operator_that_is_interpreted_is_compiled_and_named_once() -> None:
    names = [name for operator in OPERATORS.values() for name in operator.names]
    assert sorted(names) == sorted(KERNELS)
    assert set(by_name()) == set(names)


def test_every_kind_of_layer_is_the_layer_of_one_operator_and_writes_c() -> None:
    kinds = {kind for _, kind in inspect.getmembers(network, inspect.isclass) if issubclass(kind, Layer)} - {Layer}
    rows = [operator.layer for operator in OPERATORS.values() if operator.layer is not None]
    assert len(rows) == len(set(rows)) and set(rows) == kinds
    for kind in kinds:
        assert kind.data is not Layer.data and kind.call is not Layer.call
        assert (kind.streams is Layer.streams) == (kind.row is Layer.row), kind


def test_planning_loads_no_emission() -> None:
    code = (
        "import sys, netwright.mcu.lower.lower, netwright.mcu.schedule.schedule\n"
        "print([name for name in sys.modules if name.startswith(('netwright.mcu.emit', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_operators_of_ones_own_are_taken_alone_in_lists_and_by_name() -> None:
    add = OPERATORS["add"]
    assert own_operators(None) == ()
    assert own_operators(add) == own_operators([add]) == own_operators({"mine": add}) == (add,)
    mine = Operator(("ADD",), add.lower)
    assert by_name([mine])["ADD"] is mine
    with pytest.raises(Exception, match="Operator 'addd' is not known"):
        own_operators("addd")
