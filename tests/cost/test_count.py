"""Counting whole networks: published totals, groups, conventions, what is not priced."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.errors import NetwrightError
from netwright.cost.count import count, work_of
from netwright.graph.capture.trace import capture

SEVEN = [
    ("mobilenetv2_100", 224, 300_774_272),
    ("mobilenetv3_large_100", 224, 216_589_760),
    ("tf_efficientnetv2_s", 384, 8_366e6),
    ("efficientvit_b1", 224, 519_214_592),
    ("dm_nfnet_f0", 256, 12_384e6),
    ("vit_tiny_patch16_224", 224, 1_254e6),
    ("swin_tiny_patch4_window7_224", 224, 4_491e6),
]


@pytest.mark.parametrize(("name", "size", "macs"), SEVEN)
def test_known_networks(name, size, macs):
    with torch.device("meta"):
        module = timm.create_model(name).eval()
    image = torch.empty(1, 3, size, size, device="meta")
    counts = count(capture(module, image))
    assert counts.macs == pytest.approx(macs, rel=1e-3)
    assert counts.params == sum(tensor.numel() for tensor in module.parameters())
    assert counts.unpriced == ()
    with FlopCounterMode(display=False) as peer, torch.no_grad():
        module(image)
    assert 2 * counts.macs == peer.get_total_flops()  # torch's own is exact forward


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_backward_against_torch(name):
    """Where nothing is grouped and attention is not fused, torch's own counter is exact backward too."""
    with torch.device("meta"):
        module = timm.create_model(name)
        for part in module.modules():
            if hasattr(part, "fused_attn"):
                part.fused_attn = False  # pyright: ignore[reportAttributeAccessIssue]
        image = torch.empty(2, 3, 224, 224)
        names = [key for key, _ in module.named_parameters()]
        counts = count(capture(module, image, trainable=names))
        out = module(image)
        with FlopCounterMode(display=False) as peer:
            out.sum().backward()
    backward = sum(work.macs for (stage, _), work in counts.totals.items() if stage == "backward")
    assert 2 * backward == peer.get_total_flops()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.norm(self.conv(x)))
        return self.head(torch.cat([x, x]).mean((2, 3)).view(-1, 8))


def test_groups_add_up():
    counts = count(capture(Small(), torch.empty(2, 3, 10, 10)), "flops")
    conv, linear, features = 2 * 8 * 100 * 27, 4 * 8 * 5, 2 * 8 * 100
    totals = {group: (work.macs, work.flops) for (_, group), work in counts.totals.items()}
    assert totals == {
        "matmul": (conv + linear, 2 * (conv + linear)),
        "norm": (0, 2 * features + 2 * features),  # a scale and a shift; a mean of twice the batch
        "elementwise": (0, features),
        "move": (0, 0),
    }
    assert counts.flops == counts.in_convention == sum(flops for _, flops in totals.values())
    assert counts.macs == conv + linear
    assert counts.params == 3 * 8 * 9 + 8 + 8 + 8 + 8 * 5 + 5


def test_stages_are_told_apart():
    module = Small().train()
    names = [name for name, _ in module.named_parameters()]
    counts = count(capture(module, torch.empty(2, 3, 10, 10), trainable=names))
    conv, linear = 2 * 8 * 100 * 27, 4 * 8 * 5
    assert counts.totals["forward", "matmul"].macs == conv + linear
    assert counts.totals["backward", "matmul"].macs == conv + 2 * linear  # the image wants no gradient
    assert counts.totals["forward", "norm"].flops == 5 * 1600 + 2 * 1600  # in training with statistics of the batch


def test_depthwise_backward_is_twice_the_forward():
    """Where torch's own counter reports the gradient of a dense convolution."""
    module = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 3, padding=1, groups=64))
    depthwise = 64 * 9 * 14 * 14
    counts = count(capture(module, torch.empty(1, 3, 14, 14), trainable=[f"1.{name}" for name in ("weight", "bias")]))
    assert counts.totals["backward", "matmul"].macs == depthwise
    counts = count(capture(module, torch.empty(1, 3, 14, 14), trainable=["0.weight", "1.weight"]))
    assert counts.totals["backward", "matmul"].macs == 2 * depthwise + 3 * 64 * 14 * 14


def test_views_are_free_and_works_align_with_operations():
    graph = capture(Small(), torch.empty(2, 3, 10, 10))
    counts = count(graph)
    assert len(counts.works) == len(graph.ops)
    assert all(work.flops == 0 for op, work in zip(graph.ops, counts.works, strict=True) if op.view and work)


def test_types_are_told_apart():
    module = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2).to(torch.bfloat16))
    module[1].register_forward_pre_hook(lambda _module, inputs: (inputs[0].to(torch.bfloat16),))
    assert count(capture(module, torch.empty(3, 8))).macs_by_dtype == {"float32": 96, "bfloat16": 24}


def test_what_nobody_priced_is_listed():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.matrix_exp(x) + x

    graph = capture(Odd(), torch.empty(4, 4))
    counts = count(graph)
    assert [(one.kind, one.calls, one.elements) for one in counts.unpriced] == [("aten.linalg_matrix_exp", 1, 16)]
    assert counts.unpriced[0].share_of_elements == 0.5
    assert work_of(graph, graph.ops[0]) is None
    assert counts.works[0] is None and counts.flops == 16


def test_unknown_convention():
    with pytest.raises(NetwrightError, match="fvcore"):
        count(capture(Small(), torch.empty(1, 3, 8, 8)), "madds")  # pyright: ignore[reportArgumentType]


class TestFvcore:
    """Against fvcore's own rules, read from its 0.1.5: benchmarks/cost_macs.py runs the package itself."""

    def test_normalization_counts_and_activations_do_not(self):
        conv, features = 8 * 100 * 27, 8 * 100
        counts = count(capture(Small(), torch.empty(1, 3, 10, 10)), "fvcore")
        assert counts.in_convention == conv + 2 * features + 2 * 8 * 5  # batch norm in eval: two an element

    def test_layer_norm_and_pooling(self):
        module = nn.Sequential(nn.LayerNorm(10), nn.GroupNorm(2, 4, affine=False), nn.AdaptiveAvgPool2d(1))
        counts = count(capture(module, torch.empty(1, 4, 10, 10)), "fvcore")
        assert counts.in_convention == (5 + 4 + 1) * 400

    def test_fused_attention_and_recurrent_layers_are_unknown_to_it(self):
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lstm = nn.LSTM(16, 16)

            def forward(self, x: Tensor) -> Tensor:
                return nn.functional.scaled_dot_product_attention(x, x, x) + self.lstm(x)[0]

        counts = count(capture(Both(), torch.empty(5, 3, 16)), "fvcore")
        assert counts.in_convention == 0 and counts.macs > 0

    def test_backward_is_left_out(self):
        module = nn.Linear(4, 3)
        counts = count(capture(module, torch.empty(2, 4), trainable=["weight"]), "fvcore")
        assert counts.in_convention == 24


def test_expanded_parameters_are_counted_once():
    class Expanding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.empty(1, 5))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table.expand(7, 5)

    assert count(capture(Expanding(), torch.empty(7, 5))).params == 5
