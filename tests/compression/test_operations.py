"""What is read of an operation: every one with several results and every argument is followed, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import getitem
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule
from torch.nn import functional

from netwright.compression.quantization.annotate import Int8Quantizer
from netwright.compression.quantization.operations import ADVICE, SPLITS, TAKEN
from netwright.compression.quantization.post_training import quantize
from netwright.core.errors import NetwrightError
from tests.compression.folding import both, settled
from tests.compression.test_fold import Apply, images

aten = torch.ops.aten


def forms(name: str) -> Iterator[Any]:
    packet = getattr(aten, name)
    return (getattr(packet, overload) for overload in packet.overloads())


def several() -> list[Any]:
    """Every operation of torch that returns several tensors."""
    found = []
    for name in sorted(dir(aten)):
        if not hasattr(getattr(aten, name), "overloads"):
            continue
        for form in forms(name):
            returns = form._schema.returns
            tensors = [entry for entry in returns if "Tensor" in str(entry.type)]
            if len(tensors) > 1 or any("List[Tensor]" in str(entry.type) for entry in returns):
                found.append(form)
    return found


def test_every_operation_with_several_results_is_a_split_or_refused_by_name() -> None:
    """Each stands alone in a graph, with its first result read: nothing but a split passes."""
    forms_of_all = several()
    assert len(forms_of_all) > 150
    x = torch.randn(1, 4, 3, 2)
    for form in forms_of_all:
        graph = Graph()
        node = graph.placeholder("x")
        made = graph.call_function(form, (node,))
        part = graph.call_function(getitem, (made, 0))
        graph.output((part,))
        node.meta["val"] = part.meta["val"] = x
        made.meta["val"] = (x, x)
        name = form._schema.name.removeprefix("aten::")
        if name in SPLITS and (form._schema.overload_name or "default") in TAKEN[name].overloads:
            Int8Quantizer().annotate(GraphModule(nn.Module(), graph))
        else:
            with pytest.raises(NetwrightError, match=f"operation {name} "):
                Int8Quantizer().annotate(GraphModule(nn.Module(), graph))


@pytest.mark.parametrize("name", TAKEN)
def test_every_argument_of_what_is_taken_is_read_or_has_a_value_without_effect(name: str) -> None:
    taken, seen = TAKEN[name], set[str]()
    for form in forms(name):
        if (form._schema.overload_name or "default") not in taken.overloads:
            continue
        seen.update(entry.name for entry in form._schema.arguments)
        for entry in form._schema.arguments:
            assert entry.name in taken.read or entry.name in taken.only, f"{form}: {entry.name}"
    assert seen == {*taken.read, *taken.only}
    assert not {*taken.read} & {*taken.only}
    assert all(hasattr(aten, advised) for advised in ADVICE)


VALUES: dict[str, Callable[[Tensor], Any]] = {
    "greatest channel": lambda x: x.max(1, keepdim=True)[0],
    "greatest channel, dropped": lambda x: x.max(1).values,
    "greatest of the image": lambda x: x.amax((2, 3)),
    "greatest of the image, kept": lambda x: x.amax((2, 3), keepdim=True),
    "greatest of a row": lambda x: x.amax(3),
    "greatest of a column": lambda x: x.amax(2, keepdim=True),
    "greatest token": lambda x: x.flatten(2).max(2)[0],
    "greatest flattened": lambda x: x.flatten(1).amax(1, keepdim=True),
    "least channel": lambda x: x.min(1, keepdim=True)[0],
    "least of the image": lambda x: x.amin((2, 3)),
    "global max pool": lambda x: functional.adaptive_max_pool2d(x, 1),
    "adaptive max pool": lambda x: functional.adaptive_max_pool2d(x, (4, 5)),
    "max pool with unused indices": lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
    "unbound": lambda x: x.unbind(1)[3] + x.unbind(1)[-1],
    "tensor split": lambda x: x.tensor_split(3, 1)[1],
    "tensor split at": lambda x: x.tensor_split([1, 6], 1)[1],
    "uneven chunks": lambda x: x.chunk(3, 1)[-1],
    "turned difference": lambda x: 1 - functional.hardswish(x),
    "negative": lambda x: -functional.hardswish(x),
    "divided by a number": lambda x: functional.hardswish(x) / 3,
    "divided by a constant": lambda x: functional.hardswish(x) / torch.linspace(1, 2, 8).view(1, 8, 1, 1),
    "constants computed in the network": lambda x: x * torch.ones(8, 1, 1).mul(2) + torch.arange(10.0) / 10,
    "constant minus absorbed": lambda x: torch.linspace(0, 1, 8).view(1, 8, 1, 1) - x,
    "bilinear to a size": lambda x: functional.interpolate(x, (15, 13), mode="bilinear"),
    "bilinear by a whole factor": lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "nearest by another factor": lambda x: functional.interpolate(x, scale_factor=1.25, recompute_scale_factor=True),
    "max pool, ceil": lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 5, 3)),
    "softmax behind a matrix product": lambda x: (x @ x.transpose(2, 3)).softmax(-1),
    "in place": lambda x: functional.relu_(x.flatten(1)),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_taken_keeps_its_values(name: str) -> None:
    torch.manual_seed(0)
    module = Apply(VALUES[name])
    if isinstance(VALUES[name], nn.Module):
        module = nn.Sequential(nn.Conv2d(3, 8, 1), VALUES[name])  # pyright: ignore[reportArgumentType]
    _, got, wanted = both(module, images())
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 4
    assert np.abs(got - wanted).mean() < 0.6
    assert np.ptp(wanted) > 20
    module.eval()
    with torch.no_grad():
        real = module(images()).numpy()
    assert agreement(quantize(module, [images()]), real) > 25


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "sort": (lambda x: x.sort(1)[0], "the operation sort has no integer form here"),
    "topk": (lambda x: x.topk(2, 1)[0], "the operation topk has"),
    "median": (lambda x: x.median(1)[0], "the operation median has"),
    "kthvalue": (lambda x: x.kthvalue(2, 1)[0], "the operation kthvalue has"),
    "cummax": (lambda x: x.cummax(1)[0], "the operation cummax has"),
    "mode": (lambda x: x.mode(1)[0], "the operation mode has"),
    "aminmax": (lambda x: x.aminmax(dim=1)[1], r"the operation aminmax has.*x\.amax"),
    "std_mean": (lambda x: torch.std_mean(x, 1)[1], "the operation std_mean has"),
    "var_mean": (lambda x: torch.var_mean(x, 1)[0], "the operation var_mean has"),
    "indices of the greatest": (lambda x: x.max(1)[0] + x.max(1)[1], "the operation max has.*indices unused"),
    "argmax": (lambda x: x.argmax(1).float(), "the operation argmax has"),
    "greatest of all images": (lambda x: x.amax(0), "amax over dimension 0"),
    "mean of everything": (lambda x: x.mean(), r"form mean\.default"),
    "softmax over images": (lambda x: x.softmax(0), "softmax over dimension 0"),
    "indices of max pool": (
        lambda x: sum(functional.max_pool2d(x, 2, return_indices=True)),
        "max_pool2d_with_indices has",
    ),
    "uneven adaptive max pool": (lambda x: functional.adaptive_max_pool2d(x, (5, 3)), "choose sides that divide"),
    "nearest, factor": (lambda x: functional.interpolate(x, scale_factor=1.3), "by 1.3 of 12 pixels gives 15"),
    "bilinear, factor": (
        lambda x: functional.interpolate(x, scale_factor=1.3, mode="bilinear"),
        "spaced by 0.769231 and not by 12/15",
    ),
    "antialias": (
        lambda x: functional.interpolate(x, (5, 5), mode="bilinear", antialias=True),
        "_upsample_bilinear2d_aa has no integer form here. Resize without antialias",
    ),
    "bicubic": (lambda x: functional.interpolate(x, (5, 5), mode="bicubic"), "upsample_bicubic2d has"),
    "nearest-exact": (lambda x: functional.interpolate(x, (5, 5), mode="nearest-exact"), "_upsample_nearest_exact2d"),
    "dilated max pool": (lambda x: functional.max_pool2d(x, 2, dilation=2), r"max_pool2d with dilation \[2, 2\]"),
    "divisor": (lambda x: functional.avg_pool2d(x, 2, divisor_override=3), "with divisor_override 3 has"),
    "average over what is not there": (
        lambda x: functional.avg_pool2d(x[..., :9], 2, ceil_mode=True),
        "with ceil_mode has windows that reach",
    ),
    "reflected": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "pad with mode reflect has"),
    "alpha": (lambda x: torch.add(x, functional.relu(x), alpha=2), "add with alpha 2 has"),
    "another type": (lambda x: x.mean(1, dtype=torch.float64), "mean with dtype torch.float64"),
    "grouped, transposed": (
        lambda x: functional.conv_transpose2d(x, torch.ones(8, 2, 2, 2), groups=4),
        "conv_transpose2d with groups 4 has",
    ),
    "statistics of the batch": (
        lambda x: functional.batch_norm(x, torch.zeros(8), torch.ones(8), training=True),
        "batch_norm has no integer form",
    ),
    "a bias that is computed": (
        lambda x: functional.linear(x, torch.ones(4, 10), x[0, 0, 0, :4]),
        "its bias is computed",
    ),
    "part changed in place": (lambda x: (x[:, :4].mul_(2), x)[1], "mul_ changes a tensor in place"),
    "part filled in place": (lambda x: (x[:, :4].fill_(0), x)[1], "fill_ changes a tensor in place"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_taken_is_refused_by_name(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(NetwrightError, match=message):
        quantize(Apply(function), [images()])


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW)


def test_a_padding_mode_is_refused_by_name() -> None:
    with pytest.raises(NetwrightError, match="pad with mode circular"):
        quantize(Padded(), [images()])


class Tokens(nn.Module):
    """BatchNorm1d behind a linear layer of tokens, [B, T, F], whose channels are the tokens."""

    def __init__(self, tokens: int, features: int, *, relu: bool = False):
        super().__init__()
        self.linear, self.norm, self.relu = nn.Linear(9, features), nn.BatchNorm1d(tokens), relu

    def forward(self, x_BTF: Tensor) -> Tensor:
        made = self.linear(x_BTF)
        return self.norm(functional.relu(made) if self.relu else made)


@pytest.mark.parametrize(("tokens", "features"), [(6, 6), (6, 11)])
@pytest.mark.parametrize("relu", [False, True])
def test_normalization_of_tokens_keeps_to_its_dimension(tokens: int, features: int, relu: bool) -> None:
    torch.manual_seed(0)
    x_BTF = torch.randn(8, tokens, 9)
    module = settled(Tokens(tokens, features, relu=relu), x_BTF)
    nn.init.uniform_(module.norm.bias, -3, 3)  # pyright: ignore[reportArgumentType]
    nn.init.uniform_(module.norm.weight, 0.2, 4)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        real = module(x_BTF).numpy()
    assert agreement(quantize(module, [x_BTF]), real, x_BTF) > 30


def agreement(model: Any, real: Any, x: Tensor | None = None) -> float:
    """Return the signal-to-noise ratio of a network's first output on the images, dB."""
    from netwright.compression.quantization.post_training import to_integers
    from netwright.graph.integers.interpret import interpret

    stored = interpret(model, [to_integers(model, images() if x is None else x)])[0].astype(float)
    quantized = model.quantization[model.graph.outputs[0]]
    got = (stored - int(quantized.zero_point[0])) * float(quantized.scale[0])
    if got.shape != real.shape:
        got = got.transpose(0, 3, 1, 2)
    return float(10 * np.log10(np.square(real).sum() / np.square(got - real).sum()))
