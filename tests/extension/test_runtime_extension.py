"""A runtime that is added from outside measures networks, by the library and by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.cli.main import app
from netwright.core.errors import NetwrightError
from netwright.core.tables import load_own
from netwright.device.measure import measure, measure_network
from netwright.device.store import find_model, model_path, save_model
from netwright.nn.wiring import wire
from netwright.runtime.runtime import Runtime
from netwright.runtime.runtimes import RUNTIMES, runtime
from tests.extension.two_branch import two_branch

HERE = Path(__file__).parent
OWN = f"{HERE / 'own_runtime.py'}:OWN"

SMALL = """
import dataclasses
from tests.extension.two_branch import two_branch

def small():
    made = two_branch()
    space = dataclasses.replace(made.space, resolutions=(16,), kernels=((3,),) * 4, widths=((0.5,),))
    return dataclasses.replace(made, space=space)
"""


def test_the_library_measures_with_it_and_finds_the_model_again(monkeypatch, tmp_path):
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path))
    made = two_branch()
    genes = np.unique(made.space.sample(np.random.default_rng(0), 60), axis=0)[:20]
    networks = [made.priced_blocks(made.space.decode(row)) for row in genes]
    compiled = load_own(OWN.replace(":OWN", ":COMPILED"))
    compiled.clear()
    model = measure(networks, space="two-branch", runtime=OWN, threads=1, held_out=4, seconds=0.1)
    assert len(compiled) > len(networks) and set(compiled) == {1}
    assert model.runtime == OWN and model.runtime_version.startswith("torch ")
    path = save_model(model)
    assert path == model_path("this", "two-branch", OWN) and path.parent.parent == tmp_path / "devices"
    assert find_model("this", "two-branch", OWN) == model
    with pytest.raises(NetwrightError, match="No latency model"):
        find_model("this", "two-branch", "eager")
    assert measure_network(made.build(made.space.smallest()), 16, runtime(OWN), seconds=0.05) > 0


def test_blocks_that_are_joined_compute_what_the_network_computes():
    made = two_branch(join="concatenate")
    arch = made.space.largest()
    net, placed = made.build(arch).eval(), made.priced_blocks(arch)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    chosen = runtime(OWN)
    parts = [chosen.part(net.get_submodule(one.name), *one.shapes) for one in placed]
    program = chosen.join(parts, wiring=wire({one.name: one.wired for one in placed}))
    with torch.no_grad():
        np.testing.assert_allclose(program.run(x), net(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_the_command_line_measures_with_it(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path))
    monkeypatch.setattr("netwright.device.peaks.SIDES", (64,))  # large products of 16-bit numbers take a CPU seconds
    (tmp_path / "nets.py").write_text(SMALL)
    space = f"{tmp_path / 'nets.py'}:small"
    words = ["device", "this", "--measure", "--space", space, "--runtime", OWN, "--networks", "24", "--seconds", "1"]
    with pytest.raises(SystemExit) as ended:
        app([*words, "--json"], prog_name="netwright")
    out, err = capfd.readouterr()
    assert not ended.value.code, err
    told = json.loads(out)
    assert told["runtime"] == OWN and told["networks"] >= 2
    assert model_path("this", "two-branch", OWN).is_file()


def test_what_is_no_runtime_is_refused(tmp_path):
    with pytest.raises(NetwrightError, match=r"a Runtime is needed. Allowed: onnxruntime, eager, or FILE\.py:NAME"):
        runtime(f"{HERE / 'own_runtime.py'}:compile")
    with pytest.raises(NetwrightError, match="'no-such-package', which is not installed"):
        _ = Runtime("no-such-package", compile).version
    with pytest.raises(NetwrightError, match=r"Allowed: FILE\.py:NAME, eager, onnxruntime"):
        runtime("onxx")


def test_names_of_runtimes_and_devices_and_spaces_need_no_torch():
    assert set(RUNTIMES) == {"onnxruntime", "eager"}
    program = (
        "import sys\n"
        "from netwright.runtime.runtimes import RUNTIMES\n"
        "from netwright.device.machines import MACHINES, machine\n"
        "from netwright.models.families import SPACES\n"
        "assert len(list(RUNTIMES)) and len(list(SPACES)) and machine('a100').peak('float16')\n"
        "assert [one.core for one in MACHINES.values()].count('cortex-m7') == 1\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
