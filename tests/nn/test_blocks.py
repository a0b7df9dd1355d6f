"""Closed forms of shapes and MACs, against a run on the meta device that torch's FlopCounterMode counts."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import netwright.nn
from netwright.core.errors import NetwrightError
from netwright.nn.block import Block, divisible
from netwright.nn.bottleneck import Bottleneck, MaxPool, ResidualConv
from netwright.nn.fuse import Fuse
from netwright.nn.layers import norm
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.nn.transformer import EncoderLayer, PatchEmbed, TokenHead

channels = st.sampled_from([8, 16, 24, 40])
kernels = st.sampled_from([1, 3, 5, 7])
strides = st.sampled_from([1, 2])
norms = st.sampled_from(["batch", "group"])
sides = st.integers(4, 17)

BLOCKS = {
    MBConv: st.builds(
        MBConv,
        channels,
        channels,
        st.sampled_from([8, 16, 48, 72]),
        st.sampled_from([3, 5, 7]),
        strides,
        st.sampled_from(["relu", "relu6", "hswish"]),
        st.booleans(),
        norms,
    ),
    ConvNorm: st.builds(ConvNorm, channels, channels, kernels, strides, st.sampled_from(["relu", "none"]), norms),
    PoolHead: st.builds(PoolHead, channels, st.integers(2, 9), st.sampled_from([0, 16])),
    Bottleneck: st.one_of(
        st.builds(Bottleneck, channels, channels, channels, strides, st.just(True), norms),
        channels.flatmap(lambda c: st.builds(Bottleneck, st.just(c), st.just(c), channels, st.just(1))),
    ),
    ResidualConv: st.builds(ResidualConv, channels, st.sampled_from([3, 5])),
    MaxPool: st.builds(MaxPool, st.sampled_from([3, 5]), strides),
}


@st.composite
def images(draw) -> tuple[Block, tuple[int, ...]]:
    block = draw(st.one_of(*BLOCKS.values()))
    width = getattr(block, "in_channels", getattr(block, "channels", 8))
    return block, (width, draw(sides), draw(sides))


@st.composite
def tokens(draw) -> tuple[Block, tuple[int, ...]]:
    width = draw(st.sampled_from([24, 40]))
    heads, ratio, patch = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.sampled_from([2, 4]))
    patched = draw(st.integers(1, 4)) * patch, draw(st.integers(1, 4)) * patch
    return draw(
        st.sampled_from(
            [
                (PatchEmbed(width, patch, 3), (3, *patched)),
                (EncoderLayer(width, heads, 8, ratio * width), (draw(st.integers(1, 20)), width)),
                (TokenHead(width, 7), (draw(st.integers(1, 20)), width)),
            ]
        )
    )


def same_as_run(block: Block, *in_shapes: tuple[int, ...]) -> None:
    assert block.out_shape(*in_shapes) == Block.out_shape(block, *in_shapes)
    assert block.macs(*in_shapes) == Block.macs(block, *in_shapes)


@given(images())
def test_convolutional_blocks(case):
    same_as_run(*case)


@given(tokens())
def test_transformer_blocks(case):
    same_as_run(*case)


@st.composite
def fuses(draw) -> tuple[Fuse, list[tuple[int, ...]]]:
    channels = tuple(draw(st.lists(st.sampled_from([4, 8, 12]), min_size=1, max_size=3)))
    strides = tuple(draw(st.sampled_from([1, 2])) for _ in channels)
    height, width = 4 * draw(st.integers(1, 3)), 4 * draw(st.integers(1, 3))
    factors = tuple(draw(st.sampled_from([1, 2, 4])) for _ in channels)
    shapes = [
        (c, height // by * stride, width // by * stride)
        for c, by, stride in zip(channels, factors, strides, strict=True)
    ]
    join = draw(st.sampled_from(["sum", "concatenate"]))
    return Fuse(channels, draw(st.sampled_from([4, 8])), strides, factors, join), shapes


@given(fuses())
def test_blocks_of_several_inputs(case):
    block, shapes = case
    same_as_run(block, *shapes)


def test_every_block_class_is_tried():
    """A new Block subclass of netwright must join one of the strategies above."""
    for module in pkgutil.iter_modules(netwright.nn.__path__):
        importlib.import_module(f"netwright.nn.{module.name}")
    tried = {*BLOCKS, Fuse, PatchEmbed, EncoderLayer, TokenHead}
    known = {sub for sub in Block.__subclasses__() if sub.__module__.startswith("netwright.")}
    assert known == tried


@given(st.floats(1, 4000), st.sampled_from([4, 8]))
def test_divisible(value, divisor):
    rounded = divisible(value, divisor)
    assert rounded % divisor == 0 and rounded >= 0.9 * value
    assert rounded == divisor or rounded - value <= divisor


@pytest.mark.parametrize(("value", "rounded"), [(8.5, 8), (9, 16), (11, 16), (17, 16), (18, 24), (19, 24), (36, 40)])
def test_divisible_rounds_up_where_rounding_down_loses_more_than_a_tenth(value, rounded):
    assert divisible(value) == rounded


def test_squeeze_excite_counts():
    with_gate = MBConv(16, 16, 64, 3, squeeze_excite=True)
    without = dataclasses.replace(with_gate, squeeze_excite=False)
    assert with_gate.reduced == 16
    assert with_gate.macs((16, 8, 8)) - without.macs((16, 8, 8)) == 2 * 64 * 16
    assert with_gate.params() - without.params() == 2 * 64 * 16 + 64 + 16


@pytest.mark.parametrize("block", [MBConv(8, 8, 16, 3), Bottleneck(8, 8, 16)])
def test_residual_is_the_identity_when_the_last_norm_is_zero(block):
    module = block.build().eval()
    last = module.get_submodule("project.norm" if isinstance(block, MBConv) else "expand.norm")
    torch.nn.init.zeros_(last.weight)
    x_BCHW = torch.rand(2, 8, 6, 6)
    torch.testing.assert_close(module(x_BCHW), x_BCHW)


def test_attention_equals_the_textbook():
    """softmax(q k^T / sqrt(d)) v, head by head in float64, against the fused operation."""
    layer = EncoderLayer(12, 3, 4, 24).build().double()
    x_BND = torch.randn(2, 5, 12, dtype=torch.float64)
    y_BND = layer.norm1(x_BND)
    heads = []
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        q, k, v = (y_BND @ m.weight[rows].T + m.bias[rows] for m in (layer.query, layer.key, layer.value))
        heads.append((q @ k.transpose(1, 2) / 2.0).softmax(-1) @ v)
    x2_BND = x_BND + layer.out(torch.cat(heads, -1))
    expected = x2_BND + layer.contract(torch.nn.functional.gelu(layer.expand(layer.norm2(x2_BND))))
    torch.testing.assert_close(layer(x_BND), expected)


def test_positions_are_interpolated_not_cropped():
    module = PatchEmbed(4, 2, 4).build()
    with torch.no_grad():
        module.position.copy_(torch.arange(4.0).expand(1, 4, 4, 4))  # rises from left to right
        torch.nn.init.zeros_(module.project.weight)
        torch.nn.init.zeros_(module.project.bias)
    tokens_ND = module(torch.zeros(1, 3, 4, 4))[0]  # 2x2 patches
    assert tokens_ND[:, 0].tolist() == [0.5, 2.5, 0.5, 2.5]


def test_a_norm_that_does_not_exist_is_named() -> None:
    with pytest.raises(NetwrightError, match=r"'layer' is not known.*batch, group"):
        norm("layer", 16)  # type: ignore[arg-type]
