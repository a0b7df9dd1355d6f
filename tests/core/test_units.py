"""Numbers with units, as people type them."""

from __future__ import annotations

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.units import BYTES, COUNT, ENERGY_MJ, TIME_MS, parse_quantity


@pytest.mark.parametrize(
    ("text", "units", "value"),
    [
        ("2ms", TIME_MS, 2.0),
        ("0.5 s", TIME_MS, 500.0),
        ("250us", TIME_MS, 0.25),
        ("320KB", BYTES, 320 * 1024),
        ("1mb", BYTES, 1 << 20),
        ("20M", COUNT, 20e6),
        ("1e3", COUNT, 1000.0),
        ("3uJ", ENERGY_MJ, 0.003),
    ],
)
def test_values_are_in_the_unit_whose_factor_is_one(text, units, value):
    assert parse_quantity(text, units, "--limit") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0ms", "greater than zero"),
        ("-2ms", "greater than zero"),
        ("2", "a number without unit"),
        ("2KB", "unit 'KB'"),
        ("fast", "not a number with a unit"),
        ("1e999ms", "not a number with a unit"),
    ],
)
def test_what_is_no_limit_is_refused(text, words):
    with pytest.raises(NetwrightError, match=f"--latency: .*{words}"):
        parse_quantity(text, TIME_MS, "--latency")
