"""Capturing quantized modules: weights composed of several tensors, quantize and dequantize operations, torchao's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from netwright.cost.count import count
from netwright.graph.capture.trace import capture


class Int8Weight(torch.Tensor):
    """Integers with a scale a row, that behave as the product of both: the form in which quantizers keep weights."""

    @staticmethod
    def __new__(cls, values: Tensor, scale: Tensor) -> Int8Weight:
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=scale.dtype, device=values.device)

    def __init__(self, values: Tensor, scale: Tensor) -> None:
        self.values_OI, self.scale_O = values, scale

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["values_OI", "scale_O"], None

    @classmethod
    def __tensor_unflatten__(cls, inner: dict[str, Tensor], _context: Any, *_sizes: Any) -> Int8Weight:
        return cls(inner["values_OI"], inner["scale_O"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return cls(args[0].values_OI, args[0].scale_O)

        def float_of(value: Any) -> Any:
            return value.values_OI.to(value.scale_O.dtype) * value.scale_O[:, None] if isinstance(value, cls) else value

        return func(*tree_map(float_of, args), **tree_map(float_of, kwargs or {}))


def quantized(linear: nn.Linear) -> nn.Linear:
    scale_O = linear.weight.detach().abs().amax(1) / 127
    values_OI = (linear.weight.detach() / scale_O[:, None]).round().to(torch.int8)
    linear.weight = nn.Parameter(Int8Weight(values_OI, scale_O), requires_grad=False)
    return linear


def test_the_parts_of_a_composed_weight_are_parameters_and_keep_their_types() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), quantized(nn.Linear(8, 4))).eval()
    x = torch.randn(3, 6)
    before = net(x)
    graph = capture(net, torch.empty(3, 6, device="meta"))
    assert count(graph).macs == 3 * (48 + 32)
    parts = [storage for storage in graph.storages if storage.role == "parameter"]
    assert [storage.bytes for storage in parts if storage.name == "2.weight"] == [32]
    scales = [storage for storage in graph.storages if storage.role == "buffer"]
    assert [(storage.name, storage.bytes) for storage in scales] == [("2.weight", 4 * 4)]
    assert graph.params == 48 + 8 + 32 + 4
    assert not any(storage.role == "constant" for storage in graph.storages)
    assert torch.equal(net(x), before)
    assert isinstance(net[2].weight, Int8Weight)


def test_an_exported_graph_with_quantize_and_dequantize_operations() -> None:
    """The form that PT2E's convert_pt2e gives: a GraphModule with operations of torch's namespace quantized_decomposed."""
    import torch.ao.quantization.fx._decomposed  # registers them

    ops = torch.ops.quantized_decomposed

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("weight", torch.zeros(4, 3, 3, 3, dtype=torch.int8))
            self.register_buffer("scales", torch.ones(4))
            self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            x = ops.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
            x = ops.dequantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
            weight = ops.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
            return nn.functional.conv2d(x, weight, self.conv.bias)

    exported = torch.export.export(Net().eval(), (torch.randn(1, 3, 8, 8),)).module()
    graph = capture(exported, torch.empty(1, 3, 8, 8, device="meta"))
    counts = count(graph)
    assert counts.macs == 36 * 4 * 27
    assert not counts.unpriced
    kinds = [op.kind.removeprefix("quantized_decomposed.") for op in graph.ops if op.kind.startswith("quantized")]
    assert sorted(kinds) == ["dequantize_per_channel", "dequantize_per_tensor", "quantize_per_tensor"]
    assert graph.tensors[graph.ops[0].outputs[0]].dtype == "int8"


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
@pytest.mark.filterwarnings("ignore")
def test_torchao(config: str) -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="the package torchao is not installed")
    net = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16)).eval()
    quantization.quantize_(net, getattr(quantization, config)())
    counts = count(capture(net, torch.empty(2, 64, device="meta")))
    assert counts.macs == 2 * (64 * 32 + 32 * 16)
    assert counts.params == 64 * 32 + 32 + 32 * 16 + 16
    assert not counts.unpriced


class Both(Int8Weight):
    """A weight that is composed without being narrower: both of its parts are weights."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_dispatch__(func, types, args, kwargs)


def test_a_composed_weight_that_is_not_narrower_is_counted_whole() -> None:
    layer = nn.Linear(8, 4, bias=False)
    layer.weight = nn.Parameter(Both(torch.randn(4, 8), torch.ones(4)), requires_grad=False)
    assert capture(layer.eval(), torch.empty(2, 8, device="meta")).params == 32 + 4


class Only(nn.Module):
    """Holds one layer: only what is inside of a module is replaced by quantized layers."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


def dynamic(net: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    kinds = {nn.Linear, nn.LSTM, nn.GRU, nn.GRUCell}
    return torch.ao.quantization.quantize_dynamic(net.eval(), kinds, dtype=dtype)


def static(net: nn.Sequential) -> nn.Module:
    quantization = torch.ao.quantization
    wrapped = quantization.QuantWrapper(net.eval())
    wrapped.qconfig = quantization.get_default_qconfig("x86")  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    prepared = quantization.prepare(wrapped)
    prepared(torch.randn(1, 3, 8, 8))
    return quantization.convert(prepared)


@pytest.mark.parametrize(
    ("quantize", "net", "shape"),
    [
        (dynamic, nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), (2, 8)),
        (lambda net: dynamic(net, torch.float16), nn.Sequential(nn.Linear(8, 16)), (2, 8)),
        (dynamic, Only(nn.LSTM(8, 16, 2, bidirectional=True)), (5, 2, 8)),
        (dynamic, Only(nn.GRUCell(8, 16)), (2, 8)),
        (static, nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, groups=2)), (1, 3, 8, 8)),
        (static, nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(216, 5)), (1, 3, 8, 8)),
    ],
    ids=["linear", "float16", "lstm", "cell", "conv", "conv and linear"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_ao_quantized_has_the_parameters_and_macs_of_the_float_module(
    quantize: Any, net: nn.Module, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    expected = count(capture(net.eval(), x))
    found = count(capture(quantize(net), x))
    assert (found.params, found.macs) == (expected.params, expected.macs)
    assert not found.unpriced and not found.at_least
