"""Machines as data: every figure has a source, and what is not known stays unknown."""

import dataclasses

import pytest

from netwright.core.errors import NetwrightError
from netwright.device.energies import HOROWITZ_45NM, JOUPPI_7NM_DDR, JOUPPI_7NM_HBM
from netwright.device.machine import Level, Machine, Sourced
from netwright.device.machines import MACHINES, machine


def made(**values) -> Machine:
    rates = {"float32": Sourced(10e9, "paper", "test"), "int8": Sourced(40e9, "paper", "test")}
    return dataclasses.replace(Machine("made", "test", rates, Sourced(2e9, "paper", "test"), HOROWITZ_45NM), **values)


def test_the_devices_of_the_issue_are_there_with_their_memories():
    assert set(MACHINES) == {
        "xeon-8380", "a100", "h200", "jetson-orin", "snapdragon-8-gen-1", "pixel-1", "stm32f746", "stm32f412",
    }  # fmt: skip
    for name, sram_kb in (("stm32f746", 320), ("stm32f412", 256)):
        one = MACHINES[name]
        assert one.sram_bytes and one.sram_bytes.value == sram_kb * 1024
        assert one.flash_bytes and one.flash_bytes.value == 1024 * 1024
        assert one.dram_bytes is None


def test_every_figure_names_its_source_and_none_that_was_not_measured_here_is_called_measured():
    for name, one in MACHINES.items():
        assert one.name == name and one.energy.citation
        assert one.figures()
        for figure in one.figures().values():
            assert figure.kind != "measured"
            assert len(figure.source) > 15 and figure.value > 0


def test_narrower_types_are_never_slower_and_never_dearer():
    for one in MACHINES.values():
        rates = [
            one.peak_macs_per_s[name].value for name in ("float32", "float16", "int8") if name in one.peak_macs_per_s
        ]
        assert rates == sorted(rates)
    for table in (HOROWITZ_45NM, JOUPPI_7NM_DDR, JOUPPI_7NM_HBM):
        assert table.mac("int8") < table.mac("float16") < table.mac("float32")
        assert table.sram_32bit < table.dram_32bit


def test_energies_are_those_of_the_papers():
    assert HOROWITZ_45NM.mac("float32") == pytest.approx(3.7 + 0.9)
    assert HOROWITZ_45NM.mac("int8") == pytest.approx(0.2 + 0.1)  # accumulated in 32 bits
    assert HOROWITZ_45NM.mac("uint8") == HOROWITZ_45NM.mac("int8")
    assert HOROWITZ_45NM.mac("bfloat16") == HOROWITZ_45NM.mac("float16")
    assert JOUPPI_7NM_HBM.mac("bfloat16") == pytest.approx(0.21 + 0.11)
    assert HOROWITZ_45NM.addition("int64") == 0.1


def test_a_type_without_a_known_rate_is_bounded_by_the_highest():
    assert made().peak("float32") == Sourced(10e9, "paper", "test")
    assert made().peak("quint8").value == 40e9
    assert made().peak("float8_e4m3fn").value == 40e9
    assert made(peak_macs_per_s={}).peak("float32") is None
    assert made(peak_macs_per_s={}).balance("float32") is None
    assert made().balance("float32") == 5.0


def test_bandwidth_is_that_of_the_smallest_cache_that_holds_the_working_set():
    fast, slow = Sourced(8e9, "paper", "test"), Sourced(4e9, "paper", "test")
    one = made(caches=(Level(1000, fast), Level(5000, slow)))
    assert [one.bandwidth(size).value for size in (1, 1000, 1001, 5000, 5001)] == [8e9, 8e9, 4e9, 4e9, 2e9]
    assert one.balance("float32", 1000) == 1.25


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(NetwrightError, match="Did you mean 'stm32f746'"):
        machine("stm32f74")


def test_json_holds_the_figures_with_their_sources():
    told = MACHINES["a100"].to_json()
    assert told["figures"]["bandwidth_bytes_per_s"]["kind"] == "datasheet"
    assert told["figures"]["peak_macs_per_s.float16"]["value"] == 156e12
