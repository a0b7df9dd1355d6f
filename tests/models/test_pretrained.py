"""Starting from trained weights: the same outputs as their own network's, whatever file they come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.weights import read_weights, without_prefixes
from netwright.models.families import family
from netwright.models.pretrained import STARTS, find_start, fit_weights, weights_of
from netwright.supernet.supernet import Supernet


def lively(module: nn.Module) -> nn.Module:
    """Give BatchNorm layers statistics and factors of their own."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low, high in ((part.running_mean, -0.3, 0.3), (part.running_var, 0.5, 1.5)):
                tensor.uniform_(low, high, generator=generator)
            with torch.no_grad():
                part.weight.uniform_(0.7, 1.3, generator=generator)
                part.bias.uniform_(-0.2, 0.2, generator=generator)
    return module.eval()


@pytest.fixture(scope="module")
def source() -> nn.Module:
    torch.manual_seed(0)
    return lively(timm.create_model("tf_efficientnet_lite0"))


def supernet(classes: int = 1000, size: int = 96) -> Supernet:
    torch.manual_seed(1)
    return Supernet(family("efficientnet-lite", classes=classes, size=size))


@pytest.mark.parametrize("name", STARTS)
def test_tensors_of_every_start_are_in_order_those_of_its_network(name: str) -> None:
    start = find_start(name)
    made = family(start.space, classes=1000, size=start.size, **start.settings)
    with torch.device("meta"):
        own = made.build(made.space.largest()).state_dict()
        theirs = timm.create_model(name).state_dict()
    assert [tuple(one.shape) for one in own.values()] == [tuple(one.shape) for one in theirs.values()]
    card = timm.create_model(name).pretrained_cfg if name.endswith("0") else None
    if card is not None:
        assert (start.mean, start.std, start.size) == (card["mean"], card["std"], card["input_size"][-1])


@pytest.mark.parametrize("size", [64, 75, 96, 97])
def test_the_largest_network_answers_as_the_source(source: nn.Module, size: int) -> None:
    start, net = find_start("tf_efficientnet_lite0.in1k"), supernet()
    taken = fit_weights(start, net.net, source.state_dict(), "memory")
    assert (taken.by, taken.adapted, taken.left) == ("name", (), ())
    net.net.load_state_dict(taken.tensors)
    x_BCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted, got = source(x_BCHW), net.eval().net(x_BCHW)
        net.sort_channels()
        ordered = net.net(x_BCHW)
    assert float((got - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())
    assert float((ordered - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def test_weights_are_found_under_other_names_by_their_order_and_another_classifier_is_left(source: nn.Module) -> None:
    other = {f"x.{number}": tensor for number, tensor in enumerate(source.state_dict().values())}
    taken = fit_weights(find_start("tf_efficientnet_lite0"), supernet(classes=7).net, other, "memory")
    assert taken.by == "order" and len(taken.tensors) == len(other) - 2
    assert taken.adapted == ("head.classifier.weight", "head.classifier.bias")
    assert taken.left == ("x.294", "x.295")
    without = {name: tensor for name, tensor in other.items() if tensor.ndim}
    assert len(fit_weights(find_start("tf_efficientnet_lite0"), supernet().net, without, "m").tensors) == len(without)


def test_weights_of_another_network_are_refused() -> None:
    other = timm.create_model("mobilenetv2_035").state_dict()
    with pytest.raises(NetwrightError, match="does not hold the weights of tf_efficientnet_lite0"):
        fit_weights(find_start("tf_efficientnet_lite0"), supernet().net, other, "other.pth")
    with pytest.raises(NetwrightError, match="Did you mean 'tf_efficientnet_lite0'"):
        find_start("tf_efficientnet_lit0")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_files_of_weights_give_their_tensors(suffix: str, tmp_path: Path) -> None:
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.ones(3)}
    file = tmp_path / f"weights{suffix}"
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    if suffix == ".pth":
        torch.save({"state_dict": wrapped, "epoch": 3}, file)
    elif suffix == ".npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in wrapped.items()})
    else:
        save_file(wrapped, file)
    found = read_weights(file)
    assert list(found) == list(tensors)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert list(without_prefixes({"model.a": tensors["a.weight"], "b": tensors["b.bias"]})) == ["model.a", "b"]


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("no.pth", None, "There is no file"),
        ("a.txt", b"x", "does not end in one of"),
        ("b.pth", b"nonsense", "cannot be read as weights"),
        ("c.safetensors", b"nonsense", "cannot be read as weights"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(NetwrightError, match=message):
            weights_of(find_start("tf_efficientnet_lite0"), tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "d.pth")
    with pytest.raises(NetwrightError, match="no tensors by name"):
        read_weights(tmp_path / "d.pth")
