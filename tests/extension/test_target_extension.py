"""A deployment target from outside the package: one function in a file, driven through library and command line."""

import json

import pytest

import netwright as nw
from netwright.cli.main import app
from netwright.core.tables import load_own

TARGET = '''
import copy

import torch

from netwright.deployment.targets import Exported


class Program:
    """The weights as they were written, in a network of the same form."""

    def __init__(self, net, path, shift=0.0):
        self.net, self.shift = copy.deepcopy(net), shift
        self.net.load_state_dict(torch.load(path, weights_only=True))

    def run(self, x):
        with torch.no_grad():
            return self.net(torch.from_numpy(x)).numpy() + self.shift


def export(net, contract, folder, origin):
    torch.save(net.state_dict(), folder / "weights.pt")
    (folder / "about.txt").write_text(f"{contract.size} {origin['space']}")
    return Exported(("weights.pt", "about.txt"), Program(net, folder / "weights.pt"), "PyTorch")


def wrong(net, contract, folder, origin):
    torch.save(net.state_dict(), folder / "weights.pt")
    return Exported(("weights.pt",), Program(net, folder / "weights.pt", shift=0.5), "PyTorch")


def forgets(net, contract, folder, origin):
    return Exported(("weights.pt",), None, "PyTorch")


def nothing(net, contract, folder, origin):
    return None
'''
WRITTEN = ["README.md", "about.txt", "arch.json", "model.json", "model.safetensors", "weights.pt"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    few = {"batch_size": 64, "evaluate_every": 0, "subnets_per_step": 1, "calibration_images": 64}
    out = tmp_path_factory.mktemp("target") / "run"
    return nw.train("digits", space="tiny", out=out, recipe="random", epochs=0.1, **few)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "targets.py"
    path.write_text(TARGET)
    return path


def call(capfd, *words):
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words], prog_name="netwright")
    return ended.value.code or 0, *capfd.readouterr()


def test_a_target_of_ones_own_in_the_library(run, file, tmp_path):
    given = load_own(f"{file}:export")
    artifact = nw.deploy(run, "smallest", to=given, out=tmp_path / "out", calibration_images=64)
    assert sorted(path.name for path in artifact.folder.iterdir()) == WRITTEN
    assert (artifact.folder / "about.txt").read_text() == "28 tiny"
    assert artifact.verification.max_abs_difference == 0
    assert artifact.verification.agreement == 100
    assert artifact.runtime == "PyTorch"
    assert "```python" not in (artifact.folder / "README.md").read_text()  # it gave no program for the card
    assert nw.load_network(artifact.folder).state_dict().keys()
    records = (run.path / "deployed.jsonl").read_text().splitlines()
    assert json.loads(records[-1])["folder"] == str(tmp_path / "out")


def test_a_target_of_ones_own_on_the_command_line(run, file, tmp_path, capfd):
    words = ("deploy", run.path, "--arch", "smallest", "--to", f"{file}:export", "--out", tmp_path / "out")
    code, out, err = call(capfd, *words)
    assert code == 0, err
    assert "weights.pt, about.txt, its card README.md" in out
    assert "in PyTorch" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == WRITTEN


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wrong", "differs from its source"),
        ("forgets", "did not write weights.pt"),
        ("nothing", "an Exported is needed"),
        ("exprot", "Did you mean 'export'"),
    ],
)
def test_a_target_that_fails_leaves_nothing(run, file, tmp_path, name, says):
    with pytest.raises(nw.NetwrightError, match=says):
        nw.deploy(run, "smallest", to=f"{file}:{name}", out=tmp_path / "out", calibration_images=64)
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_say_what_is_allowed(run, tmp_path):
    with pytest.raises(nw.NetwrightError, match="Did you mean 'onnx'"):
        nw.deploy(run, to="onx", out=tmp_path / "out")
    with pytest.raises(nw.NetwrightError, match="is a int"):
        nw.deploy(run, to=3, out=tmp_path / "out")
    with pytest.raises(nw.NetwrightError, match="0 or greater"):
        nw.deploy(run, out=tmp_path / "out", fine_tune=-1)
    with pytest.raises(nw.NetwrightError, match="not as a float"):
        nw.deploy(run, 0.5, out=tmp_path / "out")
    with pytest.raises(nw.NetwrightError, match="path of its directory"):
        nw.deploy(3, out=tmp_path / "out")
