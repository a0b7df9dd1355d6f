"""A surgery of one's own, in one file outside the package: driven by name through the library."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from netwright.compression.quantization.qat import quantization_aware, quantize_aware
from netwright.compression.surgery import changes_of, operate
from netwright.core.errors import NetwrightError
from netwright.core.files import read_json
from netwright.core.run import Run
from netwright.data import load_dataset
from netwright.training.loop import train_network
from netwright.training.recipe import static_training

OWN = '''
import copy
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Factored:
    """A linear layer as the product of two of lower rank."""

    amount: float = 0.5

    def change(self, module, example):
        module = copy.deepcopy(module)
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, _factored(layer, self.amount))
        module.changed = {"rank": self.amount}
        module.preserves = self.amount == 1.0
        return module


def _factored(layer, amount):
    u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    rank = max(1, round(amount * len(s)))
    first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
    with torch.no_grad():
        first.weight.copy_(v[:rank])
        second.weight.copy_(u[:, :rank] * s[:rank])
        second.bias.copy_(layer.bias)
    return nn.Sequential(first, second)
'''


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path / 'own.py'}:Factored"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)).eval()


def test_it_is_done_by_name(own: str) -> None:
    net, x_BCHW = network(), torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole, part = (operate(own, net, [x_BCHW], amount=amount) for amount in (1.0, 0.3))
    with torch.no_grad():
        wanted = net(x_BCHW)
        assert whole.preserves
        assert float((whole.module(x_BCHW) - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
        assert not part.preserves
        assert not torch.equal(part.module(x_BCHW), wanted)
    assert part.changed == {"rank": 0.3}
    with pytest.raises(NetwrightError, match=r"amuont.*Did you mean 'amount'"):
        operate(own, net, [x_BCHW], amuont=0.3)


def test_a_recipe_names_it_and_it_is_trained(own: str) -> None:
    digits = load_dataset("digits", size=8)
    recipe = static_training(epochs=0.2, batch_size=64, evaluate_every=0, changes=[{"surgery": own, "amount": 0.3}])
    net = network()
    trained = train_network(net, digits, recipe, resolution=8, changes=changes_of(recipe.changes))
    assert trained is not net
    assert tuple(trained.get_parameter("3.0.weight").shape) == (3, 128)


def test_it_goes_before_quantization(own: str, tmp_path: Path) -> None:
    digits, run = load_dataset("digits", size=8), Run.create(tmp_path / "run", {"kind": "test"})
    recipe = quantization_aware(epochs=0.2, batch_size=64, changes=[{"surgery": own, "amount": 0.3}])
    model = quantize_aware(network(), digits, recipe, resolution=8, run=run)
    assert [op.kind for op in model.graph.ops].count("tflite.FULLY_CONNECTED") == 2
    assert [change.get("surgery") for change in read_json(run.path / "changes.json")] == [
        own,
        "fake-quantization",
        None,
    ]
