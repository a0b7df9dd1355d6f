"""`netwright finish`, and `train --from`: trained weights at the beginning, one network alone at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

import netwright
from netwright.core.errors import NetwrightError
from netwright.core.files import read_json
from netwright.core.state import load_state
from netwright.workflow.deploy import extract
from netwright.workflow.finish import finish, finished_weights
from netwright.workflow.open import open_run


def same_weights(net, state) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_a_finished_network_is_what_deploy_and_compile_take(call, run):
    done = call("finish", run, "--arch", "smallest", "--epochs", "0.5", "--set", "learning_rate=0.05", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["kept"] == "finished" and told["epochs"] == 0.5
    assert told["held_out"]["finished"] >= told["held_out"]["inherited"]
    opened = open_run(run)
    arch = opened.family.space.smallest()
    file = finished_weights(opened, arch)
    assert file is not None and same_weights(extract(opened, arch), load_state(file))
    assert finished_weights(opened, opened.family.space.largest()) is None
    deployed = call("deploy", run, "--arch", "smallest", "--out", run.parent / "out", "--json")
    assert "then 0.5 epochs alone, taught by the largest" in (run.parent / "out" / "README.md").read_text(), (
        deployed.err
    )
    again = call("finish", run, "--arch", "smallest", "--epochs", "0.5", "--set", "learning_rate=0.05", "--json")
    assert json.loads(again.out)["validation"] == told["validation"]  # it goes on from its end
    refused = call("finish", run, "--arch", "smallest", "--epochs", "2")
    assert refused.code == 1 and "epochs" in refused.err


def test_what_got_worse_is_not_kept(run):
    opened = open_run(run)
    arch = opened.family.space.smallest()
    before = extract(opened, arch).state_dict()
    done = finish(opened, "smallest", epochs=0.05, learning_rate=3.0, warmup_epochs=0, grad_clip=0.0, ema_decay=0.0)
    assert done.kept == "inherited" and done.held_out[1] < done.held_out[0]
    assert read_json(done.folder / "finished.json")["kept"] == "inherited"
    assert finished_weights(opened, arch) is None and same_weights(extract(opened, arch), before)


def test_a_time_becomes_epochs_and_wrong_arguments_are_refused(call, run):
    done = finish(run, "smallest", seconds=1.0)
    assert 0 < done.epochs < 5
    for words, message in (
        (("--time", "5min", "--epochs", "1"), "not both"),
        (("--time", "5 lightyears"), "Units: s, min, h"),
        (("--set", "learning_rat=1"), "Did you mean 'learning_rate'"),
        (("--arch", "best"), "was not searched yet"),
    ):
        refused = call("finish", run, *(("--arch", "smallest") if "--arch" not in words else ()), *words)
        assert refused.code == 1 and message in refused.err, refused.err


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save({"state_dict": timm.create_model("tf_efficientnet_lite0").state_dict()}, file)
    return file


def test_a_supernet_begins_with_trained_weights_and_a_classifier_of_its_features(weights, tmp_path):
    few = {"evaluate_every": 0, "calibration_images": 32, "size": 64, "epochs": 0.01}
    run = netwright.train("digits", start="tf_efficientnet_lite0", weights=weights, out=tmp_path / "run", **few)
    config = run.config
    assert config["start"] == {"name": "tf_efficientnet_lite0", "weights": str(weights.resolve())}
    assert config["space"] == "efficientnet-lite" and config["recipe"]["method"] == "sandwich"
    assert config["data"]["mean"] == [0.5, 0.5, 0.5] == config["preparation"]["mean"]
    assert open_run(tmp_path / "run").dataset.std == (0.5, 0.5, 0.5)
    baseline = next(record for record in run.run.metrics() if record["kind"] == "baseline")
    assert baseline["name"] == "frozen features" and baseline["accuracy"] > 50
    theirs = torch.load(weights, weights_only=True)["state_dict"]["conv_stem.weight"]
    moved = (run.supernet.net.get_parameter("stem.conv.weight").detach() - theirs).abs().max()
    assert 0 < float(moved) < 0.02  # trained on from there, at a low rate


def test_what_a_start_does_not_allow_is_said_before_anything_is_read(call, weights, tmp_path):
    out = ("--out", tmp_path / "run")
    for words, message in (
        ((), "--from tf_efficientnet_lite0"),
        (("--weights", weights, "--space", "tiny"), "name that too"),
        (("--from", "tf_efficientnet_lite9"), "Did you mean"),
        (("--from", "tf_efficientnet_lite0", "--space", "tiny"), "leave --space out"),
        (("--from", "tf_efficientnet_lite0", "--weights", tmp_path / "no.pth"), "there is no file"),
    ):
        refused = call("train", "digits", *words, *out)
        assert refused.code == 1 and message in refused.err, refused.err
    assert not (tmp_path / "run").exists()
    with pytest.raises(NetwrightError, match="Nothing says which networks"):
        netwright.train("digits", out=tmp_path / "run")
