"""A run that is trained for a few steps, once a process, and commands called inside this process."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest

from netwright.cli.main import app


@pytest.fixture
def call(capfd):
    """Run a command here, as the console script would; return its exit code and what it wrote."""

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words], prog_name="netwright")
        out, err = capfd.readouterr()
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a finished run of a few steps; tests that write take a copy of it."""
    from netwright.workflow.train import train

    path = tmp_path_factory.mktemp("trained") / "run"
    few = {"batch_size": 64, "evaluate_every": 0, "warmup_epochs": 0, "subnets_per_step": 1, "calibration_images": 64}
    train("digits", space="tiny", out=path, recipe="random", epochs=0.15, **few)
    return path


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of the trained run."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def latency_model():
    """Keep a made-up latency model of this machine: see `tiny_latency_model`."""
    from netwright.device.store import save_model

    model = tiny_latency_model()
    save_model(model)
    return model


def tiny_latency_model(noise_percent=4.0):
    """Return a latency model of this machine: a nanosecond a thousand multiply-accumulates, a tenth of a millisecond besides."""
    from netwright.device.features import block_key
    from netwright.device.latency import LatencyModel
    from netwright.device.store import processor
    from netwright.models.families import family
    from netwright.runtime.runtimes import runtime
    from netwright.searching.layout import Layout

    keys = [key for key in Layout(family("tiny")).keys if key is not None]
    figures = {"networks": 10, "mape": 4.0, "within_10pct": 95.0, "kendall_tau": 0.97}
    return LatencyModel(
        device=processor(),
        runtime="onnxruntime",
        runtime_version=runtime("onnxruntime").version,
        threads=1,
        space="tiny",
        offset_ms=0.1,
        blocks_ms={block_key(*key): key[0].macs(key[1]) / 1e6 for key in keys},
        rates_ms={},
        held_out=figures,
        noise_floor=figures | {"mape": noise_percent},
        measured={"networks": 40, "held_out_ms": [[1.0, 1.1], [2.0, 2.1]]},
    )


@pytest.fixture
def searched(run, latency_model):
    """Return a run with a search result that nothing was evaluated for."""
    from netwright.models.families import family

    made = family("tiny")
    entries = []
    for accuracy, arch in ((80.0, made.space.largest()), (60.0, made.space.smallest())):
        latency = {"value": latency_model.predict(made.priced_blocks(arch)), "kind": "predicted", "error": 0.04}
        figure = {"value": accuracy, "kind": "measured"}
        costs = {"macs": made.macs(arch), "params": made.params(arch)}
        entries.append({"arch": arch.to_json(), "accuracy": figure, "latency_ms": latency, **costs})
    quality = {"networks": 40, "kendall_tau": 0.7, "spearman": 0.8, "rmse": 1.5}
    found = {"schema": 1, "name": "5-ms", "device": "this", "strategy": "evolution", "seed": 0}
    found |= {
        "budget": {"latency_ms": 5.0},
        "candidates": entries,
        "front": entries,
        "points": [],
        "predictor": quality,
    }
    (run / "search").mkdir()
    (run / "search" / "5-ms.json").write_text(json.dumps(found))
    return run


@pytest.fixture
def small_demo():
    """Return a size of the demo that takes seconds."""
    from netwright.workflow.demo import Size

    settings = {"batch_size": 64, "subnets_per_step": 1, "evaluate_every": 0, "warmup_epochs": 0}
    return dataclasses.replace(
        Size(),
        epochs=0.3,
        settings=settings,
        networks=24,
        seconds=0.5,
        evaluations=20,
        calibration_images=64,
        budgets=(0.5,),
        workers=1,
    )
