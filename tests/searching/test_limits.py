"""Limits priced block by block against the whole networks, and how budgets are given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from search_families import enumerate_space, small_family

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.cost.memory.inference import inference_memory
from netwright.cost.memory.training import training_memory
from netwright.cost.speed.energy import energy_parts
from netwright.device.machines import machine
from netwright.graph.capture.trace import capture
from netwright.nn.trainable import trainable_names
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.kind import DevicePrices
from netwright.searching.limits.reach import reach
from netwright.searching.limits.table import LIMITS, budget_name, budget_options, budget_text, parse_limit

FAMILY = small_family()
A100 = DevicePrices("a100", machine=machine("a100"))
ENDS = np.stack([np.zeros_like(FAMILY.space.sizes), FAMILY.space.sizes - 1])
GENES = np.concatenate([ENDS, FAMILY.space.sample(np.random.default_rng(0), 4)])


def network(row, batch=1):
    arch = FAMILY.space.decode(row)
    with torch.device("meta"):
        return FAMILY.build(arch), torch.empty(batch, 3, arch.resolution, arch.resolution)


def test_peak_memory_and_energy_are_those_of_the_whole_network():
    peak, energy = (
        limit.table for limit in reversed(Budget(peak_memory_bytes=1e9, energy_mj=1e9).limits(FAMILY, A100))
    )
    for row in GENES:
        graph = capture(*network(row))
        assert peak(row[None])[0] == inference_memory(graph).peak_bytes
        whole = energy_parts(graph, count(graph), A100.machine).total_mj
        assert energy(row[None])[0] == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(("mode", "batch"), [("full", 1), ("bias", 8), ("last", 4), ("stage2.*", 2)])
def test_training_memory_is_that_of_the_whole_network_within_the_promise(mode, batch):
    (limit,) = Budget({f"training_memory@{mode}:{batch}": 1e9}).limits(FAMILY)
    for row in GENES:
        net, x = network(row, batch)
        graph = capture(net.train(), x, trainable=trainable_names(net, mode))
        whole = training_memory(graph, mode=mode, optimizer="momentum").total_bytes
        assert limit.table(row[None])[0] == pytest.approx(whole, rel=0.05)


def test_a_tight_training_memory_is_reached():
    (limit,) = Budget({"training_memory": 1e9}).limits(FAMILY)
    every = enumerate_space(FAMILY.space)
    values = limit.table(every)
    bound = float(np.sort(values)[3])
    (tight,) = Budget({"training_memory": bound}).limits(FAMILY)
    assert tight.table(reach(FAMILY.space, [tight], np.random.default_rng(0))[None])[0] <= bound
    assert limit.table.minimum()[0] == values.min()


def test_budgets_are_read_written_and_refused():
    kind, value = parse_limit("training_memory@bias:8=30MB")
    assert (kind.key, value) == ("training_memory_bytes@bias:8", 30 * 1024**2)
    budget = Budget({kind: value}, macs=20e6, latency_ms=2)
    assert list(budget.to_json()) == ["latency_ms", "macs", "training_memory_bytes@bias:8"]
    assert budget.macs == 20e6 and budget.params is None and budget == Budget(budget.to_json())
    assert budget.replace(latency_ms=1.0).latency_ms == 1.0
    assert budget_text(budget.to_json()) == "2 ms, 20 M MACs, 30 MB training memory bias:8"
    assert budget_name({"latency_ms": 2.0, "macs": 2e6}) == "2-ms_2-M-MACs"
    options = budget_options(budget.to_json())
    assert options[:4] == ["--latency", "2ms", "--macs", "2e+07"]
    again, bound = parse_limit(options[5])
    assert again.key == kind.key and bound == pytest.approx(value, rel=1e-5)
    for given, says in (
        ({"mac": 1}, "Did you mean 'macs'"),
        ({"latency_ms": "2"}, "without quotes"),
        ({"macs": True}, "True"),
    ):
        with pytest.raises(NetwrightError, match=says):
            Budget(**given)


def test_limits_are_listed_without_torch():
    program = (
        "import sys; from netwright.searching.limits.table import LIMITS; "
        "print([(kind.name, kind.unit) for kind in LIMITS.values()]); assert 'torch' not in sys.modules"
    )
    listed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in LIMITS)
