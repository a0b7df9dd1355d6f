"""Artifacts: what is exported computes what the source computes, says what it expects, and loads without a supernet."""

import contextlib
import io
import json
import re
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import netwright
from netwright.core.errors import NetwrightError
from netwright.cost.figures import Cost, Figure
from netwright.data.images import ImageSet
from netwright.data.loader import normalized
from netwright.data.preparation import Preparation
from netwright.deployment.contract import Contract
from netwright.deployment.network import load_network, save_network
from netwright.deployment.onnx import FILES, deploy_onnx
from netwright.deployment.verify import verify
from netwright.models.families import family
from netwright.supernet.supernet import Supernet

CLASSES = ("cat", "dog <b>", "a|b", "ünïcode")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    return ImageSet(torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 4, (40,)))


@pytest.fixture(scope="module")
def net(images):
    torch.manual_seed(1)
    made = family("tiny", classes=len(CLASSES))
    arch = made.space.smallest()
    x_BCHW = normalized(images.images_NCHW, MEAN, STD, arch.resolution)
    return Supernet(made).extract(arch, [x_BCHW])


def deploy(net, images, out, **changes):
    made = family("tiny", classes=len(CLASSES))
    arch = made.space.smallest()
    predicted = Cost(made.macs(arch), made.params(arch), Figure(0.5, "predicted", 0.04), Figure(25.0, "measured"))
    settings = {"space": "tiny", "settings": dict(made.settings), "classes": CLASSES, "mean": MEAN, "std": STD}
    settings |= {"arch": arch, "resolution": arch.resolution, "out_dir": out, "images": images}
    settings |= {"predicted": predicted, "origin": {"run": "r", "space": "tiny"}, "measure": lambda path: 0.42}
    return deploy_onnx(net, **(settings | changes))


@pytest.fixture(scope="module")
def artifact(net, images, tmp_path_factory):
    return deploy(net, images, tmp_path_factory.mktemp("build") / "out")


@pytest.fixture
def ready_export(artifact, monkeypatch):
    """Take the model exported before: exporting takes seconds."""

    def copy(net, in_shape, path, *, metadata, output_name):
        path.write_bytes((artifact.folder / "model.onnx").read_bytes())
        return path

    monkeypatch.setattr("netwright.deployment.onnx.export_onnx", copy)


def test_the_export_equals_its_source(artifact):
    checked = artifact.verification
    assert checked.images == 40
    assert checked.max_abs_difference < 1e-4
    assert checked.agreement == 100
    assert checked.accuracy_source == checked.accuracy_deployed
    assert sorted(file.name for file in artifact.folder.iterdir()) == sorted(FILES)


def test_the_verification_measures_what_onnx_runtime_computes(artifact, net, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact.folder / "model.onnx", providers=["CPUExecutionProvider"])
    x_BCHW = normalized(images.images_NCHW, MEAN, STD, 28)
    with torch.no_grad():
        source_BK = net(x_BCHW).numpy()
    deployed_BK = session.run(None, {"images": x_BCHW.numpy()})[0]
    assert abs(source_BK - deployed_BK).max() == pytest.approx(
        artifact.verification.max_abs_difference, rel=0.5, abs=1e-6
    )
    right = 100 * (deployed_BK.argmax(1) == images.labels_N.numpy()).mean()
    assert right == pytest.approx(artifact.verification.accuracy_deployed)


@pytest.mark.usefixtures("ready_export")
@pytest.mark.parametrize(("limit_ms", "exceeds"), [(0.4, {"latency_ms": 0.4}), (0.42, {}), (None, {})])
def test_a_network_above_its_limit_is_marked_wherever_it_goes(net, images, tmp_path, limit_ms, exceeds):
    from netwright.cli.deploy import describe
    from netwright.deployment.artifact import make_artifact

    made = family("tiny", classes=len(CLASSES))
    arch = made.space.smallest()
    artifact = make_artifact(
        net,
        to="onnx",
        arch=arch,
        family={"space": "tiny", "settings": dict(made.settings)},
        preparation=Preparation(arch.resolution, arch.resolution, MEAN, STD),
        classes=CLASSES,
        task="classification",
        out_dir=tmp_path / "out",
        images=images,
        predicted=Cost(made.macs(arch), made.params(arch)),
        origin={"run": "r"},
        measure=lambda exported, folder: Figure(
            0.42, "measured", source="the file itself, at noon; the machine was busy"
        ),
        budget={"latency_ms": limit_ms, "macs": 1.0} if limit_ms else None,
    )
    assert artifact.exceeds == exceeds
    beside = json.loads((tmp_path / "out" / "model.json").read_text())
    assert beside["exceeds"] == exceeds and "at noon" in beside["latency_ms"]["source"]
    for text in ((tmp_path / "out" / "README.md").read_text(), "\n".join(describe(artifact))):
        assert ("over 0.4 ms" in text) is bool(exceeds)
        assert "the machine was busy" in text


@pytest.mark.usefixtures("ready_export")
def test_a_wrong_export_is_found_and_nothing_is_written(net, images, tmp_path, monkeypatch):
    class Wrong:
        def run(self, x):
            with torch.no_grad():
                return net(torch.from_numpy(x)).numpy() + np.float32(0.05)

    monkeypatch.setattr("netwright.deployment.onnx.onnxruntime.load", lambda path: Wrong())
    with pytest.raises(NetwrightError, match="differs from its source"):
        deploy(net, images, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_verification_counts_agreement(net, images):
    class Rolled:
        def run(self, x):
            with torch.no_grad():
                return net(torch.from_numpy(x)).roll(1, 1).numpy()

    contract = Contract(Preparation(28, 28, MEAN, STD), CLASSES)
    checked = verify(net, Rolled(), images, contract, batch_size=7)
    assert checked.agreement == 0
    assert not checked.passed
    with pytest.raises(NetwrightError, match="at least one image"):
        verify(net, Rolled(), images.select(torch.arange(0)), contract)


def test_verification_keeps_the_largest_difference_of_all_batches(net, images):
    class OffAtFirst:
        seen = 0

        def run(self, x):
            off, self.seen = np.float32(self.seen == 0), self.seen + len(x)
            with torch.no_grad():
                return net(torch.from_numpy(x)).numpy() + off

    checked = verify(net, OffAtFirst(), images, Contract(Preparation(28, 28, MEAN, STD), CLASSES), batch_size=7)
    assert checked.max_abs_difference == pytest.approx(1, abs=1e-3) and not checked.passed


def test_the_contract_is_in_the_file_and_beside_it(artifact):
    model = onnx.load(artifact.folder / "model.onnx")
    contract = Contract.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    assert (contract.size, contract.mean, contract.std, contract.classes) == (28, MEAN, STD, CLASSES)
    beside = json.loads((artifact.folder / "model.json").read_text())
    assert beside["input"] == contract.to_json()
    assert beside["latency_ms"] == {"value": 0.42, "kind": "measured"}
    assert beside["predicted"]["latency_ms"] == {"value": 0.5, "kind": "predicted", "error": 0.04}
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape][1:] == [3, 28, 28]
    with pytest.raises(NetwrightError, match="not made by"):
        Contract.from_metadata({"size": "28"})


def test_the_network_loads_without_the_supernet(artifact, net, images):
    loaded = load_network(artifact.folder)
    x_BCHW = normalized(images.images_NCHW, MEAN, STD, 28)
    with torch.no_grad():
        assert torch.equal(loaded(x_BCHW), net(x_BCHW))
    assert not any(type(module).__module__.startswith("netwright.supernet") for module in loaded.modules())
    with safe_open(artifact.folder / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(net.state_dict())


def test_the_program_of_the_card_runs_and_agrees(artifact, net, images, tmp_path, monkeypatch):
    text = (artifact.folder / "README.md").read_text()
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len([line for line in program.splitlines() if line.strip()]) <= 32
    agree = 0
    monkeypatch.chdir(artifact.folder)
    for index in range(8):
        pixels = images.images_NCHW[index].permute(1, 2, 0).numpy()
        file = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(file)
        monkeypatch.setattr(sys, "argv", ["run.py", str(file)])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(program, "card", "exec"), {})  # noqa: S102 - the program under test
        with torch.no_grad():
            expected = CLASSES[net(normalized(images.images_NCHW[index : index + 1], MEAN, STD, 28)).argmax()]
        agree += out.getvalue().strip() == expected
    assert agree == 8


def test_the_card_says_where_figures_come_from_and_escapes(artifact):
    text = (artifact.folder / "README.md").read_text()
    assert "0.42 ms (measured)" in text
    assert "0.5 ms (predicted, within about 4.0%)" in text
    assert "licence of the training data: not known" in text
    assert callable(getattr(netwright, re.search(r"`netwright\.(\w+)\(", text)[1]))
    assert "dog <b>" not in text
    assert "dog &lt;b&gt;" in text
    assert r"a\|b" in text


@pytest.mark.usefixtures("ready_export")
def test_a_second_deployment_replaces_the_first_only_when_it_succeeds(net, images, tmp_path):
    out = tmp_path / "out"
    deploy(net, images, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def fails(path):
        raise NetwrightError("no")

    with pytest.raises(NetwrightError, match=r"^no$"):
        deploy(net, images, out, measure=fails)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    deploy(net, images, out, measure=lambda path: 7.0)
    assert json.loads((out / "model.json").read_text())["latency_ms"]["value"] == 7.0
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_other_files_is_left_alone(net, images, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(NetwrightError, match="holds other files"):
        deploy(net, images, tmp_path)
    with pytest.raises(NetwrightError, match="is a file"):
        deploy(net, images, tmp_path / "mine.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("arch.json", "{", "not valid JSON"),
        ("arch.json", "[]", "schema"),
        ("arch.json", '{"schema": 1}', "lacks a valid 'space'"),
        (
            "arch.json",
            '{"schema": 1, "space": "tiny", "settings": {"classes": 4}, "arch": {"resolution": 7}}',
            "resolution",
        ),
        ("arch.json", '{"schema": 1, "space": "tinny", "settings": {}, "arch": {}}', "Did you mean 'tiny'"),
        ("model.safetensors", "garbage", "damaged"),
        ("model.safetensors", None, "does not exist"),
    ],
)
def test_damaged_artifacts_are_refused(artifact, tmp_path, name, content, says):
    for file in FILES:
        (tmp_path / file).write_bytes((artifact.folder / file).read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(NetwrightError, match=says):
        load_network(tmp_path)


def test_weights_of_another_arch_are_refused(artifact, tmp_path):
    made = family("tiny", classes=len(CLASSES))
    save_network(
        tmp_path, made.build(made.space.largest()), space="tiny", settings=made.settings, arch=made.space.smallest()
    )
    with pytest.raises(NetwrightError, match="does not fit"):
        load_network(tmp_path)
