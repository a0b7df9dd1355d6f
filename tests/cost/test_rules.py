"""Prices of operations against numbers worked out by hand and against the sparsity of Jacobians."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.cost.count import RULES, count
from netwright.cost.rules.aten_products import einsum_macs
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph
from tests.cost.cases import CASES, Call, Case


def macs(graph: Graph, stage: str) -> int:
    counts = count(graph)
    assert not counts.unpriced and not graph.notes
    return sum(work.macs for (where, _), work in counts.totals.items() if where == stage)


def learning(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestCases:
    def test_without_gradients(self, case: Case):
        assert macs(capture(case.module(), *case.inputs()), "forward") == case.forward

    @pytest.mark.parametrize("training", [False, True])
    def test_with_gradients(self, case: Case, training: bool):
        if "LSTM" in case.name and not torch.backends.mkldnn.is_available():
            pytest.skip("without oneDNN the gradient of the first state is left out")
        module = case.module().train(training)
        graph = capture(module, *case.inputs(), trainable=learning(module))
        assert macs(graph, "forward") == case.forward
        assert macs(graph, "backward") == case.expected_backward

    @pytest.mark.filterwarnings("ignore")  # torch.export warns of its own parts
    def test_exported(self, case: Case):
        inputs = [torch.zeros_like(x) for x in case.inputs()]
        program = torch.export.export(case.module().eval(), tuple(inputs))
        assert macs(capture(program.module(), *inputs), "forward") == case.forward

    def test_frozen_inputs_cost_no_gradient(self, case: Case):
        module = case.module()
        nothing = capture(module, *case.inputs(), trainable=())
        assert macs(nothing, "backward") == 0


def terms(function, inputs: list[Tensor], place: int) -> int:
    """How many products a function linear in each input makes: the entries of its Jacobian at ones that are not zero."""
    jacobian = torch.autograd.functional.jacobian(
        lambda x: function(*inputs[:place], x, *inputs[place + 1 :]), inputs[place]
    )
    assert isinstance(jacobian, Tensor)
    return int(jacobian.sum().round())  # at ones every product is one


CONVOLUTIONS = [
    (F.conv1d, (2, 4, 9), (6, 2, 3), {"groups": 2, "stride": 2}),
    (F.conv2d, (1, 4, 6, 6), (4, 1, 3, 3), {"groups": 4}),
    (F.conv2d, (2, 3, 7, 6), (5, 3, 2, 3), {"stride": (2, 1), "dilation": (1, 2)}),
    (F.conv3d, (1, 2, 4, 4, 4), (2, 1, 2, 2, 2), {"groups": 2}),
    (F.conv_transpose1d, (2, 4, 5), (4, 3, 3), {"stride": 2}),
    (F.conv_transpose2d, (1, 6, 4, 4), (6, 2, 3, 3), {"stride": 2, "groups": 3, "output_padding": 1}),
    (F.conv_transpose3d, (1, 2, 3, 3, 3), (2, 2, 2, 2, 2), {"stride": 2}),
]
PRODUCTS = [
    (torch.mm, (3, 4), (4, 5), {}),
    (torch.bmm, (2, 3, 4), (2, 4, 5), {}),
    (torch.matmul, (2, 1, 3, 4), (2, 4, 5), {}),
    (F.linear, (2, 3, 4), (5, 4), {}),
    (functools.partial(torch.einsum, "bhqd,bkhd->bhqk"), (2, 2, 3, 4), (2, 5, 2, 4), {}),
]


@pytest.mark.parametrize(("function", "x", "weight", "settings"), CONVOLUTIONS + PRODUCTS)
def test_products_are_counted_exactly(function, x, weight, settings):
    """Without padding every product that is counted is one that happens, forward and in both gradients."""
    call = Call(lambda a, b: function(a, b, **settings), 2)
    counted = capture(call, torch.empty(x), torch.empty(weight), trainable=["scales"])
    inputs = [torch.ones(x), torch.ones(weight)]
    true = [terms(lambda a, b: function(a, b, **settings), inputs, place) for place in (0, 1)]
    assert macs(counted, "forward") == true[0] == true[1]
    assert macs(counted, "backward") == sum(true)


@pytest.mark.parametrize("wanted", ["inner.weight", "scales", "inner.bias"])
@pytest.mark.parametrize("groups", [1, 4, 32])
def test_only_wanted_gradients_are_counted(wanted, groups):
    call = Call(nn.Conv2d(32, 32, 3, groups=groups, padding=1), 1)
    graph = capture(call, torch.empty(2, 32, 8, 8), trainable=[wanted])
    forward = 2 * 32 * 64 * 32 // groups * 9
    assert macs(graph, "forward") == forward
    assert macs(graph, "backward") == (0 if wanted == "inner.bias" else forward)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 24),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("...ij,...jk->...ik", [(7, 6, 2, 3), (6, 3, 4)], 7 * 6 * 24),
        ("bi,bj", [(5, 2), (5, 3)], 30),
        ("ii->i", [(4, 4)], 0),
        ("i,i->", [(9,), (9,)], 9),
    ],
)
def test_einsum(equation, shapes, macs):
    assert einsum_macs(equation, shapes) == macs


FUSED = {
    "_scaled_dot_product_flash_attention": (),
    "_scaled_dot_product_efficient_attention": (None, True),
    "_scaled_dot_product_cudnn_attention": (None, True),
    "_scaled_dot_product_flash_attention_for_cpu": (),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_attention_of_every_device(name):
    q, k = torch.empty(2, 4, 10, 16), torch.empty(2, 4, 12, 16)
    kernel = getattr(torch.ops.aten, name)
    graph = capture(Call(lambda q, k, v: kernel(q, k, v, *FUSED[name]), 3), q, k, k)
    assert f"aten.{name}" in [op.kind for op in graph.ops]
    assert macs(graph, "forward") == 2 * 4 * 10 * 12 * 32


def test_fused_attention_with_gradients():
    """Twice the forward products, as the unfused kernel makes, though a fused one computes the scores again."""
    q, k = torch.empty(2, 4, 10, 16), torch.empty(2, 4, 12, 16)
    call = Call(F.scaled_dot_product_attention, 3)
    graph = capture(call, q, k, k, trainable=["scales"])
    assert any(op.kind.endswith("_backward") and "scaled_dot" in op.kind for op in graph.ops)
    assert macs(graph, "backward") == 2 * macs(graph, "forward")


def test_fast_paths_in_one_operation():
    """The operations that MultiheadAttention and TransformerEncoderLayer run in eval mode without gradients."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    expected = next(case for case in CASES if case.name == "TransformerEncoderLayer").forward
    own = layer.self_attn

    def encoder(x: Tensor) -> Tensor:
        return torch._transformer_encoder_layer_fwd(
            x, 32, 4, own.in_proj_weight, own.in_proj_bias, own.out_proj.weight, own.out_proj.bias, False, False, 1e-5,
            *(layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias),
            *(layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias),
        )  # fmt: skip

    def attention(x: Tensor) -> Tensor:
        return torch._native_multi_head_attention(
            x, x, x, 32, 4, own.in_proj_weight, own.in_proj_bias, own.out_proj.weight, own.out_proj.bias
        )[0]

    for function, kind, want in (
        (encoder, "aten._transformer_encoder_layer_fwd", expected),
        (attention, "aten._native_multi_head_attention", expected - 2 * 2 * 9 * 32 * 64),
    ):
        graph = capture(Call(function, 1), torch.empty(2, 9, 32))
        assert kind in [op.kind for op in graph.ops]
        assert count(graph).macs == want


def test_recurrent_layers_step_by_step():
    """In float64 an LSTM is dispatched gate by gate: the same products, but for the constant first state's gradient."""
    case = next(case for case in CASES if case.name == "LSTM")
    module = case.module().double()
    graph = capture(module, *(x.double() for x in case.inputs()), trainable=learning(module))
    assert "aten.mkldnn_rnn_layer" not in [op.kind for op in graph.ops]
    assert macs(graph, "forward") == case.forward
    assert macs(graph, "backward") == 2 * case.forward - 3 * 4 * 24 * 24


def test_every_core_operation_of_torch_is_priced():
    """Those that torch promises to break all others down to (the Core ATen IR)."""
    core = set()
    for name in torch._C._dispatch_get_all_op_names():
        kind, _, overload = name.replace("::", ".", 1).partition(".")[2].partition(".")
        if name.startswith("aten::") and hasattr(torch.ops.aten, kind):
            found = getattr(getattr(torch.ops.aten, kind), overload or "default", None)
            if found is not None and torch.Tag.core in found.tags:
                core.add(kind)
    assert len(core) > 100
    named = {kind.rstrip("_") for kind in core if not kind.startswith("sym_")}
    assert named <= {kind.removeprefix("aten.") for kind in RULES}


def test_quantized_steps():
    """What a network quantized for export does around its products: nothing is multiplied and accumulated there."""
    import torch.ao.quantization.fx._decomposed

    def both(x: Tensor) -> Tensor:
        q = torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
        return torch.ops.quantized_decomposed.dequantize_per_tensor(q, 0.1, 0, -128, 127, torch.int8)

    counts = count(capture(Call(both, 1), torch.empty(3, 5)))
    assert not counts.unpriced and counts.macs == 0 and counts.flops == 15 * (1 + 4 + 2)
    integer = torch.zeros(17, 32, dtype=torch.int8), torch.zeros(32, 8, dtype=torch.int8)

    class Product(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return torch._int_mm(a, b)

    assert count(capture(Product(), *integer)).macs_by_dtype == {"int8": 17 * 32 * 8}


@pytest.mark.parametrize(("dim", "k", "comparisons"), [(0, None, 64 * 4), (1, None, 64 * 2), (1, 2, 64 * 1)])
def test_sorting(dim, k, comparisons):
    function = (lambda x: x.sort(dim)) if k is None else (lambda x: x.topk(k, dim))
    assert count(capture(Call(function, 1), torch.empty(16, 4))).flops == 64 + comparisons


@pytest.mark.parametrize(
    ("function", "shape", "flops"),
    [
        (lambda x: F.max_pool2d(x, 3, 2), (1, 2, 9, 9), 9 * 2 * 16),
        (lambda x: F.avg_pool2d(x, (2, 3)), (1, 2, 8, 9), 6 * 2 * 12),
        (lambda x: F.adaptive_avg_pool2d(x, 1), (1, 2, 8, 9), 144),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 4, 4), 7 * 2 * 64),
        (lambda x: F.interpolate(x, scale_factor=2), (1, 2, 4, 4), 0),
        (lambda x: x.softmax(1), (3, 7), 5 * 21),
        (lambda x: x.sum(0), (3, 7), 21),
        (lambda x: F.layer_norm(x, (7,)), (3, 7), 4 * 21),
        (lambda x: torch.cat([x, x])[:2].contiguous(), (3, 7), 0),
        (lambda x: torch.fft.fft2(x).real, (1, 8, 8), 5 * 64 * 6),
    ],
)
def test_what_is_not_a_product(function, shape, flops):
    counts = count(capture(Call(function, 1), torch.empty(shape)))
    assert not counts.unpriced and counts.macs == 0
    assert counts.flops - torch.Size(shape).numel() == flops  # less the scaling of the input
