"""The loop as a person uses it: networks learn, results can be loaded, mistakes are named."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.core.run import Run
from netwright.core.state import load_state, save_state
from netwright.data import calibration_batches
from netwright.models import families as spaces
from netwright.supernet.supernet import Supernet
from netwright.training.evaluate import accuracy, landmarks, subnet_accuracy
from netwright.training.load import load_supernet
from netwright.training.loop import train_network, train_supernet
from tests.training.small import colours, small_family, small_recipe, small_run, small_supernet


@pytest.mark.parametrize("method", ["progressive", "sandwich", "random"])
def test_sub_networks_learn(method):
    supernet, data = small_supernet(), colours(240)
    train_supernet(supernet, data, small_recipe(method, epochs=5, evaluate_every=0, learning_rate=0.3))
    space = supernet.family.space
    reached = [subnet_accuracy(supernet, arch, data) for arch in landmarks(space).values()]
    assert min(reached) > 60  # chance is 33 %
    assert not supernet.training


def test_static_trains_and_fine_tuning_follows_its_teacher():
    data = colours(240)
    family = small_family()
    supernet = small_supernet()
    train_supernet(supernet, data, small_recipe("sandwich", epochs=5, evaluate_every=0, learning_rate=0.3))
    calibration = calibration_batches(data, resolution=8)
    teacher = supernet.extract(family.space.largest(), calibration)
    student = supernet.extract(family.space.smallest(), calibration_batches(data, resolution=6))
    before = copy.deepcopy(teacher.state_dict())
    shared = {"mean": data.mean, "std": data.std, "resolution": 6}
    accuracy_before = accuracy(student, data.val, **shared)
    recipe = small_recipe("fine-tuning", epochs=4, distillation_weight=1.0, learning_rate=0.02, ema_decay=0)
    scrambled = dataclasses.replace(data.train, labels_N=data.train.labels_N.roll(1))  # labels it must not look at
    train_network(student, dataclasses.replace(data, train=scrambled), recipe, resolution=6, teacher=teacher)
    assert accuracy(student, data.val, **shared) >= accuracy_before - 15
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_same_seed_same_weights_and_other_seed_others():
    def train(seed: int) -> dict[str, torch.Tensor]:
        supernet = small_supernet()
        train_supernet(supernet, colours(), small_recipe("sandwich", epochs=1, seed=seed))
        return supernet.state_dict()

    first, again, other = train(0), train(0), train(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_supernet(small_supernet(), colours(), small_recipe("random", epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_accumulated_parts_are_one_batch():
    def train(accumulate: int) -> dict[str, torch.Tensor]:
        supernet = small_supernet(normalization="group")
        settings = small_recipe("sandwich", epochs=1, accumulate=accumulate, augment="none")
        train_supernet(supernet, colours(), settings)
        return supernet.state_dict()

    whole, parts = train(1), train(4)
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], atol=1e-4, rtol=1e-3, msg=name)


def test_bf16_trains():
    supernet, data = small_supernet(), colours()
    train_supernet(supernet, data, small_recipe("sandwich", epochs=2, precision="bf16"))
    assert all(parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in supernet.parameters())
    with pytest.raises(NetwrightError, match="needs a GPU"):
        train_supernet(supernet, data, small_recipe("sandwich", precision="fp16"))


def test_records_of_a_run(tmp_path):
    recipe = small_recipe("sandwich", epochs=2, evaluate_every=1, log_every=2)
    run = small_run(tmp_path, recipe)
    train_supernet(small_supernet(), colours(), recipe, run)
    records = run.metrics()
    trained = [record for record in records if record["kind"] == "train"]
    assert [record["step"] for record in trained] == [2, 4, 6]
    assert set(trained[0]) == {"kind", "epoch", "step", "loss", "learning_rate", "images_per_s"}
    evaluated = [(r["epoch"], r["arch"]) for r in records if r["kind"] == "eval"]
    assert evaluated == [(epoch, arch) for epoch in (1.0, 2.0) for arch in ("largest", "middle", "smallest")]


def _trained_tiny(path):
    family = spaces.family("tiny", classes=3, size=8)
    recipe = small_recipe("sandwich", epochs=0.4, evaluate_every=0)
    config = {"kind": "supernet", "space": "tiny", "settings": dict(family.settings), "recipe": recipe.to_json()}
    run = Run.create(path, config)
    supernet = Supernet(family)
    train_supernet(supernet, colours(), recipe, run)
    return supernet, Run.open(path)


def test_load_supernet_gives_what_was_trained_and_names_what_does_not_fit(tmp_path):
    supernet, run = _trained_tiny(tmp_path / "run")
    loaded = load_supernet(run)
    x, arch = torch.randn(2, 3, 8, 8), supernet.family.space.smallest()
    assert torch.equal(loaded(x, arch), supernet(x, arch)) and not loaded.training

    run.config["settings"]["classes"] = 5
    with pytest.raises(NetwrightError, match=r"classifier.*5"):
        load_supernet(run)
    run.config["settings"]["classes"] = 3
    model = run.path / "model.safetensors"
    weights = load_state(model)
    save_state(model, {name: tensor for name, tensor in weights.items() if "stem" not in name})
    with pytest.raises(NetwrightError, match="stem"):
        load_supernet(run)
    model.write_bytes(b"x" * 100)
    with pytest.raises(NetwrightError, match="damaged"):
        load_supernet(run)
    model.unlink()
    with pytest.raises(NetwrightError, match="not finished"):
        load_supernet(run)
    run.config["space"] = "tinny"
    with pytest.raises(NetwrightError):
        load_supernet(run)
    run.config["kind"] = "network"
    with pytest.raises(NetwrightError, match="network"):
        load_supernet(run)


def test_too_few_images_and_wrong_method_are_named():
    with pytest.raises(NetwrightError, match="static"):
        train_network(torch.nn.Flatten(), colours(), small_recipe("sandwich"), resolution=8)
    with pytest.raises(NetwrightError, match="fewer than one batch"):
        train_supernet(small_supernet(), colours(30), small_recipe("sandwich", batch_size=24, accumulate=24))
