"""Surgery: the contract that every row of the table keeps, and what a recipe makes of names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from netwright.compression.quantization.fake_quantization import FakeQuantization, FakeQuantized
from netwright.compression.quantization.qat import quantization_aware, quantize_aware
from netwright.compression.surgery import SURGERIES, changes_of, example_of, operate
from netwright.core.errors import NetwrightError
from netwright.core.files import read_json
from netwright.core.run import Run
from netwright.data import Dataset, calibration_batches, load_dataset
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from netwright.training.change import Objective, Surgery
from netwright.training.objectives import OBJECTIVES, MatchTeacher
from tests.compression.folding import settled

SIZE = 8


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", size=SIZE)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )


def images(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SURGERIES)
@pytest.mark.parametrize("network", ["small", "timm.mobilenetv3_small_050", "timm.resnet10t"])
def test_every_surgery_keeps_the_contract(name: str, network: str) -> None:
    torch.manual_seed(0)
    side = SIZE if network == "small" else 64
    net = small() if network == "small" else timm.create_model(network.removeprefix("timm."), num_classes=10)
    x_BCHW = images(8, side)
    settled(net, x_BCHW)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with torch.no_grad():
        wanted = net(x_BCHW)
    done = operate(name, net, x_BCHW.split(4))
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())
    assert json.loads(json.dumps(done.changed)) == done.changed != {}
    logits = done.module(x_BCHW)
    assert logits.shape == wanted.shape
    if done.preserves:
        assert float((logits - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in done.module.parameters() if parameter.requires_grad)
    finish = getattr(done.module, "finish", None)
    finished = finish() if finish is not None else done.module
    if isinstance(finished, QuantizedGraph):
        assert interpret(finished, [np.zeros((1, side, side, 3), np.int8)])[0].shape == (1, 10)
    else:
        torch.export.export(finished, (x_BCHW,))


@pytest.mark.parametrize("name", SURGERIES)
def test_names_and_shapes_do_not_depend_on_the_images(name: str) -> None:
    shapes = []
    for factor in (1, 50):
        done = operate(name, small().eval(), [factor * images(4, SIZE)])
        shapes.append({key: tuple(tensor.shape) for key, tensor in done.module.state_dict().items()})
    assert shapes[0] == shapes[1]


def test_the_tables_hold_what_they_say() -> None:
    assert all(isinstance(make(), Surgery) for make in SURGERIES.values())
    assert all(isinstance(make(), Objective) for make in OBJECTIVES.values())


def test_a_recipe_names_surgery_and_objectives_in_order() -> None:
    surgery, objective = changes_of(
        [{"surgery": "fake-quantization", "images": 64}, {"objective": "match-teacher", "weight": 0.5}]
    )
    assert (surgery, objective) == (FakeQuantization(images=64), MatchTeacher(0.5))
    with pytest.raises(NetwrightError, match=r"Surgery.*'fake-quantisation'.*Did you mean 'fake-quantization'"):
        changes_of([{"surgery": "fake-quantisation"}])
    with pytest.raises(NetwrightError, match="observr"):
        changes_of([{"surgery": "fake-quantization", "observr": "mse"}])
    with pytest.raises(NetwrightError, match="needs a teacher"):
        objective.objective(small(), None)  # pyright: ignore[reportAttributeAccessIssue]


def test_the_objective_is_the_mean_squared_difference() -> None:
    student, taught = torch.randn(5, 10), torch.randn(5, 10)
    term = MatchTeacher(2.0).objective(small(), small())
    expected = 2 * sum((a - b) ** 2 for a, b in zip(student.flatten(), taught.flatten(), strict=True)) / 50
    assert float(term(student, taught, None)) == pytest.approx(float(expected), rel=1e-5)


def test_what_was_done_is_saved_with_the_run(tmp_path: Path, digits: Dataset) -> None:
    run = Run.create(tmp_path / "run", {"kind": "test"})
    recipe = quantization_aware(epochs=0.2, batch_size=64, calibration_images=128)
    changes = (*recipe.changes, {"objective": "match-teacher", "weight": 0.1})
    recipe = quantization_aware(epochs=0.2, batch_size=64, calibration_images=128, changes=changes)
    model = quantize_aware(small(), digits, recipe, resolution=SIZE, observer="percentile", run=run)
    quantization, objective, changed = read_json(run.path / "changes.json")
    assert quantization == {"surgery": "fake-quantization", "observer": "percentile", "images": 128}
    assert objective == {"objective": "match-teacher", "weight": 0.1}
    assert changed["changed"] == {"observer": "percentile", "images": 128, "weights": 2, "activations": 3}
    assert (run.path / "model.safetensors").exists()
    assert model.graph.ops


def test_the_objective_in_the_recipe_has_an_effect(digits: Dataset) -> None:
    shared = {"epochs": 0.2, "batch_size": 64, "calibration_images": 128, "distillation_weight": 0.0}
    plain, pulled = (
        quantize_aware(small(), digits, quantization_aware(**shared, changes=changes), resolution=SIZE)
        for changes in ((), ({"objective": "match-teacher", "weight": 10.0},))
    )
    assert any(not np.array_equal(values, pulled.values[index]) for index, values in plain.values.items())


def test_surgery_on_quantized_networks_is_refused(tmp_path: Path, digits: Dataset) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\n\nclass Wrapped:\n    def change(self, module, example):\n        return nn.Sequential(module)\n"
    )
    recipe = quantization_aware(epochs=0.1, changes=({"surgery": "fake-quantization"}, {"surgery": f"{own}:Wrapped"}))
    with pytest.raises(NetwrightError, match="be the recipe's last surgery"):
        quantize_aware(small(), digits, recipe, resolution=SIZE)


def test_surgery_without_images_or_contract_is_refused() -> None:
    with pytest.raises(NetwrightError, match="got no images"):
        operate("fake-quantization", small(), [])
    with pytest.raises(NetwrightError, match="images come too late"):
        operate(FakeQuantization(), small(), [images(2, SIZE)], images=4)
    with pytest.raises(NetwrightError, match="has no method change"):
        operate(dict, small(), [images(2, SIZE)])  # pyright: ignore[reportArgumentType]


def test_an_example_gives_as_many_images_as_are_asked_for() -> None:
    batches = images(10, 4).split(4)
    assert [len(x_BCHW) for x_BCHW in example_of(batches).calibration(6)] == [4, 2]
    assert [len(x_BCHW) for x_BCHW in example_of(batches).calibration(99)] == [4, 4, 2]


def test_the_surgery_rounds_as_training_by_hand_does(digits: Dataset) -> None:
    batches = calibration_batches(digits, resolution=SIZE, images=128)
    net = small().eval()
    one = operate("fake-quantization", net, batches, images=128).module
    other = FakeQuantized(net, batches)
    with torch.no_grad():
        assert torch.equal(one(batches[0]), other(batches[0]))
