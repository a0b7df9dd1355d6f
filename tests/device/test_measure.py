import dataclasses

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.device import measure as measuring
from netwright.device import timing
from netwright.device.features import features
from netwright.models.families import family
from netwright.models.family import PlacedBlock
from netwright.nn.mbconv import MBConv
from tests.device.machines import Machine


@pytest.fixture(scope="module")
def tiny():
    return family("tiny")


def networks(made, count, seed=0):
    genes = np.unique(made.space.sample(np.random.default_rng(seed), count), axis=0)
    return [made.priced_blocks(made.space.decode(row)) for row in genes]


def measured(monkeypatch, made, machine, count=60, **settings):
    monkeypatch.setattr(timing, "time", machine.clock)
    runtime = machine.runtime(alone_factor=1.2, call_ms=0.02, network_ms=0.03)
    return measuring.measure(networks(made, count), space="tiny", runtime=runtime, seconds=60, **settings)


def truth(priced):
    return 0.03 + sum(Machine.cost(placed.block.build(), *placed.shapes) for placed in priced)


@pytest.mark.parametrize("busy", [0.0, 0.7])
def test_the_model_recovers_an_additive_machine(monkeypatch, tiny, busy):
    model = measured(monkeypatch, tiny, Machine(busy))
    fresh = networks(tiny, 40, seed=1)
    predicted, true = np.array([[model.predict(one), truth(one)] for one in fresh]).T
    assert np.abs(predicted / true - 1).max() < 0.05
    assert model.held_out["within_10pct"] == 100 and model.held_out["kendall_tau"] > 0.95
    assert model.measured["sum_of_blocks_alone"]["mape"] > 10  # what the fit is for
    assert model.noise_floor["mape"] < 0.5


def test_a_model_of_a_busy_machine_says_so_wherever_it_goes(monkeypatch, tiny, capsys, tmp_path):
    from netwright.cli.device import describe
    from netwright.device.latency import LatencyModel
    from netwright.device.store import save_model
    from netwright.runtime.runtimes import runtime
    from netwright.workflow.measure import describe_model
    from netwright.workflow.search import price_device

    calm = measured(monkeypatch, tiny, Machine())
    assert calm.doubt is None and not any("warning" in line for line in describe(calm))
    assert calm.reference_ms and any("100% of the timings fell in calm moments" in line for line in describe(calm))
    hurried = Machine(busy=1.0)
    monkeypatch.setattr(timing, "time", hurried.clock)
    few = networks(tiny, 40)
    busy = measuring.measure(few, space="tiny", runtime=hurried.runtime(1.2, 0.02, 0.03), seconds=1e-3)
    assert busy.doubt and any(line.startswith(f"warning: {busy.doubt}") for line in describe(busy))
    assert (busy.summary()["busy"], describe_model(busy)["busy"], calm.summary()["busy"]) == (
        busy.doubt,
        busy.doubt,
        None,
    )
    busy.save(tmp_path / "busy.json")
    assert LatencyModel.load(tmp_path / "busy.json").doubt == busy.doubt
    version = runtime("onnxruntime").version
    save_model(dataclasses.replace(busy, runtime="onnxruntime", runtime_version=version))
    price_device(tiny, "this", "onnxruntime", {"latency_ms": 1.0})
    assert busy.doubt in capsys.readouterr().err


def test_predictions_are_the_sum_of_offset_and_blocks(monkeypatch, tiny):
    model = measured(monkeypatch, tiny, Machine(), count=30)
    for priced in networks(tiny, 5, seed=2):
        parts = [model.block_ms(*placed.key) for placed in priced]
        assert min(parts) > 0
        assert model.predict(priced) == pytest.approx(model.offset_ms + sum(parts), abs=1e-12)


def test_blocks_never_timed_are_priced_by_what_they_do_and_said_to_be(monkeypatch, tiny):
    model = measured(monkeypatch, tiny, Machine())
    priced = networks(tiny, 60)[0]
    blind = dataclasses.replace(model, blocks_ms={})
    assert (model.unmeasured(priced), blind.unmeasured(priced) > 0.5) == (0.0, True)
    assert blind.predict(priced) == pytest.approx(truth(priced), rel=0.3)


def test_covered_blocks_are_known_without_a_network_that_holds_them(monkeypatch, tiny):
    extra = (MBConv(8, 8, 40, 3), (8, 10, 10))
    model = measured(monkeypatch, tiny, Machine(), count=30, cover=[extra])
    assert model.unmeasured([PlacedBlock("extra", extra[0], extra[1:])]) == 0
    true = Machine.cost(extra[0].build(), extra[1])
    alone = 0.02 + 1.2 * true
    assert abs(model.block_ms(*extra) - true) < 0.3 * (alone - true)


def test_held_out_networks_have_no_part_in_the_model(monkeypatch, tiny):
    seen = []
    real = measuring.choose
    monkeypatch.setattr(measuring, "choose", lambda data, **kw: (seen.append(len(data.ms_N)), real(data, **kw))[1])
    model = measured(monkeypatch, tiny, Machine(), count=40, held_out=12)
    assert model.held_out["networks"] == 12 and seen == [model.measured["networks"] - 12]


def test_too_few_networks_are_a_clear_error(monkeypatch, tiny):
    with pytest.raises(NetwrightError, match="too few"):
        measured(monkeypatch, tiny, Machine(), count=12)


def test_a_real_runtime_end_to_end(tiny):
    model = measuring.measure(networks(tiny, 30)[:20], space="tiny", runtime="eager", held_out=4, seconds=0.1)
    assert set(model.summary()) >= {
        "device", "runtime", "networks", "mape", "within_10pct", "kendall_tau", "noise_floor",
    }  # fmt: skip
    assert model.summary()["networks"] == 4 and model.predict(networks(tiny, 1)[0]) > 0
    assert measuring.measure_network(tiny.build(tiny.space.smallest()), 32, seconds=0.1) > 0


@pytest.mark.parametrize(
    ("block", "shape"),
    [(MBConv(8, 16, 24, 5, 2, "hswish", squeeze_excite=True), (8, 12, 12)), (MBConv(8, 8, 8, 3), (8, 9, 9))],
)
def test_features_count_the_macs_and_calls_of_a_block(block, shape):
    found = features(block, shape)
    macs = sum(value for name, value in found.items() if name.endswith(".macs"))
    assert macs * 1e6 == pytest.approx(block.macs(shape))
    assert (
        found[f"conv{block.kernel}g.macs"] * 1e6 == np.prod(block.out_shape(shape)[1:]) * block.hidden * block.kernel**2
    )
    assert found["conv1.calls"] == 1 + block.expands + 2 * block.squeeze_excite
    assert found["block.params"] * 1e6 == pytest.approx(block.params())
    assert not any(name.startswith(("uniform", "fill", "zero")) for name in found)  # making weights is not running
