"""The roofline and the energy, by hand on made-up machines."""

import dataclasses
import sys
import types

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.speed.energy import energy, energy_parts, measure_energy
from netwright.cost.speed.roofline import roofline
from netwright.cost.speed.traffic import moved_bytes
from netwright.device.energies import HOROWITZ_45NM
from netwright.device.machine import Level, Machine, Sourced
from netwright.device.machines import MACHINES
from netwright.graph.capture.trace import capture


def paper(value):
    return Sourced(value, "paper", "test")


MACHINE = Machine("made", "test", {"float32": paper(1e9)}, paper(1e9), HOROWITZ_45NM, dram_bytes=paper(1e9))


@pytest.fixture(scope="module")
def graph():
    net = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 10))
    return capture(net, torch.empty(1, 16, 8, 8))


def test_each_operation_is_bound_by_the_slower_of_compute_and_memory(graph):
    found = roofline(graph, count(graph), MACHINE)
    by_kind = {op.kind: bound for op, bound in zip(graph.ops, found.ops, strict=True)}
    conv, relu, linear = by_kind["aten.convolution"], by_kind["aten.relu"], by_kind["aten.addmm"]
    assert conv.macs == 64 * 32 * 16 * 9
    assert (conv.bound, conv.ms) == ("compute", pytest.approx(1e3 * conv.macs / 1e9))
    assert (linear.bound, linear.ms) == ("memory", pytest.approx(1e3 * linear.bytes / 1e9))
    assert relu.ms == pytest.approx(1e3 * 2 * 4 * 32 * 64 / 1e9) and relu.intensity == 0
    assert linear.intensity == pytest.approx(20480 / linear.bytes)
    assert all(bound.ms == 0 for op, bound in zip(graph.ops, found.ops, strict=True) if op.view)


def test_the_total_is_the_sum_and_the_floor_is_lower(graph):
    found = roofline(graph, count(graph), MACHINE)
    assert found.total.kind == found.floor.kind == "bounded"
    assert found.total.value == pytest.approx(sum(bound.ms for bound in found.ops))
    assert found.floor.value < found.total.value
    together = found.together(range(len(graph.ops)))
    assert together.ms == pytest.approx(found.total.value)
    assert together.bytes == sum(moved_bytes(graph))


def test_a_faster_machine_never_raises_the_bound(graph):
    slow = roofline(graph, count(graph), MACHINE).total.value
    for change in (
        {"peak_macs_per_s": {"float32": paper(3e9)}},
        {"bandwidth_bytes_per_s": paper(3e9)},
        {"caches": (Level(20_000, paper(5e9)),)},
    ):
        assert roofline(graph, count(graph), dataclasses.replace(MACHINE, **change)).total.value < slow


def test_unknown_rates_bound_less_and_say_so(graph):
    memory_only = roofline(graph, count(graph), dataclasses.replace(MACHINE, peak_macs_per_s={}))
    assert all(bound.bound == "memory" for bound in memory_only.ops)
    assert memory_only.total.value == pytest.approx(1e3 * sum(moved_bytes(graph)) / 1e9)
    ints_only = dataclasses.replace(MACHINE, peak_macs_per_s={"int8": paper(8e9)})
    assert "no peak rate known for float32" in roofline(graph, count(graph), ints_only).notes[0]
    with pytest.raises(NetwrightError, match="Nothing is known"):
        roofline(graph, count(graph), dataclasses.replace(MACHINE, peak_macs_per_s={}, bandwidth_bytes_per_s=None))


def test_energy_is_counts_times_the_table(graph):
    counts = count(graph)
    parts = energy_parts(graph, counts, MACHINE)
    assert parts.macs_mj == pytest.approx(counts.macs * 4.6e-9)
    assert parts.memory_mj == pytest.approx(sum(moved_bytes(graph)) / 4 * 640e-9)
    assert parts.others_mj == pytest.approx((counts.flops - 2 * counts.macs) * 0.9e-9)
    figure = energy(graph, counts, MACHINE)
    assert figure.value == pytest.approx(parts.macs_mj + parts.others_mj + parts.memory_mj)
    assert figure.kind == "predicted" and figure.source and "Horowitz 2014" in figure.source
    assert type(figure).from_json(figure.to_json()) == figure


def test_a_microcontroller_reads_sram(graph):
    parts = energy_parts(graph, count(graph), MACHINES["stm32f746"])
    assert parts.memory == "SRAM"
    assert parts.memory_mj == pytest.approx(sum(moved_bytes(graph)) / 4 * 5e-9)


def test_gpus_are_read_through_nvml(tmp_path, monkeypatch):
    used = [5000, 7000]

    def run():
        used[0], used[1] = used[0] + 20, used[1] + 30

    nvml = types.SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(used),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: used[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    told = measure_energy(run, seconds=0, powercap=tmp_path)
    assert told.meter == "NVML" and told.figure is not None and told.figure.value == 50.0

    def broken():
        raise RuntimeError("driver not loaded")

    monkeypatch.setattr(nvml, "nvmlInit", broken)
    assert "driver not loaded" in measure_energy(run, seconds=0, powercap=tmp_path).meter


def test_energy_is_measured_where_there_is_a_meter(tmp_path, monkeypatch):
    monkeypatch.setattr("netwright.cost.speed.energy._gpus", lambda: ([], "no GPU"))
    told = measure_energy(lambda: None, seconds=0, powercap=tmp_path)
    assert told.figure is None and "no RAPL domain" in told.meter and "no GPU" in told.meter
    counters = {}
    for folder, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram")):
        path = tmp_path / folder
        path.mkdir()
        (path / "name").write_text(name + "\n")
        (path / "max_energy_range_uj").write_text("999\n")
        (path / "energy_uj").write_text("900\n")
        counters[name] = path / "energy_uj"

    def run():
        for file, step in ((counters["package-0"], 300), (counters["dram"], 50), (counters["core"], 77)):
            file.write_text(f"{(int(file.read_text()) + step) % 1000}\n")

    told = measure_energy(run, seconds=0, powercap=tmp_path)
    assert told.figure is not None and told.figure.kind == "measured" and told.meter == "RAPL"
    assert told.figure.value == pytest.approx(0.35)  # the package, which holds its cores, and its memory; one overflow
