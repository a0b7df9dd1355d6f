"""Limits of microcontrollers, as they are typed."""

from __future__ import annotations

import pytest

from netwright.cli.search import parse_limits
from netwright.core.errors import NetwrightError
from netwright.models.families import family
from netwright.searching.limits.mcu_prices import mcu_prices, with_memories
from netwright.specialization.candidate import Describe, needs
from netwright.workflow.search import is_microcontroller

NONE = {"latency": None, "macs": None, "params": None}


def parse_more(texts):
    return {kind.key: bound for kind, bound in parse_limits(NONE, texts).items()}


def test_limits_are_read_with_their_units():
    assert parse_more(["sram=128KB", "flash=0.5MB", "instructions=10M"]) == {
        "sram_bytes": 131072,
        "flash_bytes": 524288,
        "instructions": 1e7,
    }
    assert parse_more([]) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sram", "NAME=VALUE"),
        ("ram=3KB", "Did you mean 'sram'"),
        ("sram=3", "Units"),
        ("flash=-3KB", "greater than zero"),
    ],
)
def test_other_limits_are_refused(text, says):
    with pytest.raises(NetwrightError, match=says):
        parse_more([text])


def test_a_device_limits_by_all_it_has():
    assert with_memories("stm32f746", {}) == {"sram_bytes": 320 * 1024, "flash_bytes": 1 << 20}
    assert with_memories("stm32f412", {"sram_bytes": 1000.0, "macs": 5.0})["sram_bytes"] == 1000
    with pytest.raises(NetwrightError, match="more than the 262,144 bytes of stm32f412"):
        with_memories("stm32f412", {"sram_bytes": 300 * 1024})
    assert is_microcontroller("stm32f746") and not is_microcontroller("a100") and not is_microcontroller("this")


def test_what_a_network_needs_is_that_of_its_plan():
    made = family("mcunet", size=32, depth=2)
    prices = mcu_prices("stm32f412")
    found = needs(prices, made, made.space.smallest()).to_json()
    assert set(found) == {"arena_bytes", "flash_bytes", "instructions", "mode"}
    latency = Describe(made, prices).latency(made.space.smallest())
    assert latency.kind == "bounded" and latency.error is None and "100 MHz" in (latency.source or "")
    assert all(
        part in latency.source for part in ("nobody measured it", "wait states", "cache misses")
    )  # what it leaves out
    assert "two instructions a clock" not in latency.source  # a Cortex-M4 starts one
    assert "two instructions a clock" in mcu_prices("stm32f746").latency_source
    assert latency.value == pytest.approx(
        found["instructions"] / 100e3, rel=0.2
    )  # the plan may stream where it costs less
