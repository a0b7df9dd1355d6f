"""Hard-swish and squeeze-excitation on microcontrollers: what a search predicts is what `compile` then needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from netwright.compression.quantization.post_training import quantize
from netwright.mcu.compile import compile_network
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.run.emulate import TOOLS, emulate
from netwright.mcu.run.toolchain import missing
from netwright.models.families import family
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.searching.limits.mcu_prices import mcu_prices


def trained(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Statistics of data, and scales so wide that hard-swish is none of its straight pieces."""
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.weight.data.mul_(2)
            one.momentum = None
        if isinstance(one, nn.Linear):
            one.weight.data.mul_(20)
    with torch.no_grad():
        module.train()(torch.randn(8, *shape))
    return module.eval()


@pytest.mark.skipif(bool(missing("gcc", *TOOLS)), reason=missing("gcc", *TOOLS))
@pytest.mark.parametrize("name", [pytest.param("mobilenet-v3-small", marks=pytest.mark.slow), "tiny"])
def test_a_hard_swish_network_needs_what_was_predicted(name: str, tmp_path: Path) -> None:
    made = family(name, size=32, classes=10)
    arch = made.space.decode(made.space.sample(np.random.default_rng(1), 1)[0])
    shape = (3, arch.resolution, arch.resolution)
    said = mcu_prices("stm32f746").network(made.blocks(arch), shape)
    torch.manual_seed(0)
    module = trained(made.build(arch), shape)
    compiled = compile_network(quantize(module, [torch.randn(4, *shape)]), tmp_path / "net", sram_bytes=320 * 1024)
    assert compiled.plan.arena_bytes == said.arena_bytes
    assert said.flash_bytes == pytest.approx(compiled.sizes.flash_bytes, rel=0.03)
    size = sum(compiled.network.values[value].bytes for value in compiled.network.inputs)
    found = emulate(tmp_path / "net", np.zeros((1, size), np.int8), cpu="cortex-m7")
    assert said.instructions == pytest.approx(int(found.instructions[0]), rel=0.10)


@pytest.mark.parametrize("activation", ["hswish", "relu6"])
@pytest.mark.parametrize("squeeze", [False, True])
def test_blocks_become_the_layers_that_the_quantizer_makes(activation: str, squeeze: bool) -> None:
    from netwright.mcu.lower.lower import lower

    blocks = [
        ConvNorm(3, 8, 3, 2, activation),  # pyright: ignore[reportArgumentType]
        MBConv(8, 8, 32, 5, 1, activation, squeeze),  # pyright: ignore[reportArgumentType]
        PoolHead(8, 10, 16, activation),  # pyright: ignore[reportArgumentType]
    ]
    torch.manual_seed(0)
    module = trained(nn.Sequential(*(block.build() for block in blocks)), (3, 24, 24))
    real = lower(quantize(module, [torch.randn(8, 3, 24, 24)]))
    said = network_of_blocks(blocks, (3, 24, 24), seed=None)
    assert [type(layer) for layer in said.layers] == [type(layer) for layer in real.layers]
    shapes = [[network.values[layer.output].shape for layer in network.layers] for network in (said, real)]
    assert shapes[0] == shapes[1]
    assert said.macs == real.macs
