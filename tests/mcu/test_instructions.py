"""Networks from blocks, and models linear in the work of their layers."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.mcu.network import Conv, Depthwise
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.price.instructions import (
    InstructionModel,
    fit,
    flash_model,
    flash_of,
    instruction_model,
    work_of,
    works_of,
)
from netwright.mcu.schedule.schedule import schedule
from netwright.models.families import family
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.nn.transformer import TokenHead


def sampled(count: int, seed: int = 0):
    """Sub-networks of a small space, as blocks and input shape."""
    made = family("mcunet", size=32, depth=2)
    for row in made.space.sample(np.random.default_rng(seed), count):
        arch = made.space.decode(row)
        yield made, arch, (3, arch.resolution, arch.resolution)


def test_networks_of_blocks_have_their_shapes_and_macs():
    for made, arch, shape in sampled(5):
        network = network_of_blocks(made.blocks(arch), shape)
        planned = network_of_blocks(made.blocks(arch), shape, seed=None)
        assert network.macs == planned.macs == made.macs(arch)
        assert [value.shape for value in network.values] == [value.shape for value in planned.values]
        assert network.values[network.outputs[0]].shape == (10,)
        weights = sum(layer.weights.size for layer in network.layers if hasattr(layer, "weights"))
        norms = sum(len(layer.requantize.bias) for layer in network.layers if isinstance(layer, Conv | Depthwise))
        assert weights + 2 * norms + 10 == made.params(arch)  # BatchNorm's two a channel, the classifier's bias


def test_random_networks_are_reproducible_and_fill_int8():
    network, again = (network_of_blocks([ConvNorm(3, 8, 3, 2)], (3, 16, 16), seed=7) for _ in range(2))
    conv, other = network.layers[0], again.layers[0]
    assert isinstance(conv, Conv) and isinstance(other, Conv)
    assert (conv.weights == other.weights).all() and (conv.requantize.bias == other.requantize.bias).all()
    assert network.values[1].shape == (8, 8, 8)
    assert conv.requantize.multiplier.min() >= 1 << 30


def test_blocks_without_integer_form_are_refused():
    with pytest.raises(NetwrightError, match="TokenHead"):
        network_of_blocks([TokenHead(8, 10)], (4, 8))
    with pytest.raises(NetwrightError, match="gelu"):
        network_of_blocks([ConvNorm(3, 8, 3, 1, "gelu")], (3, 8, 8))  # pyright: ignore[reportArgumentType]


def test_a_fit_finds_the_coefficients_of_what_is_linear():
    """Programs priced by known coefficients: the fit predicts other programs exactly."""
    rng = np.random.default_rng(0)
    programs = [works_of(network, schedule(network, mode=mode)) for network, mode in mixed(60)]
    kinds = {kind: len(features) for works in programs for kind, features in works}
    true = InstructionModel("test", {"network": (50.0,)} | {k: tuple(rng.uniform(1, 9, n)) for k, n in kinds.items()})
    model = fit("test", [(works, true.network(works)) for works in programs[:50]])
    for works in programs[50:]:
        if {kind for kind, _ in works} <= {kind for known in programs[:50] for kind, _ in known}:
            assert model.network(works) == pytest.approx(true.network(works), rel=0.03)
    assert model.error < 1e-3
    assert InstructionModel.from_json("test", model.to_json()) == model


def mixed(count: int):
    """Single blocks of all kinds, in turn layer by layer and row by row."""
    rng = np.random.default_rng(1)
    for number in range(count):
        channels, kernel, stride = 8 * rng.integers(1, 5), 3 + 2 * (number % 2), 1 + number // 2 % 2
        block = MBConv(int(channels), 16, int(channels) * 4, kernel, stride)
        side = int(rng.integers(8, 20))
        blocks = [ConvNorm(3, int(channels), 3, 2), block, PoolHead(16, 10)]
        yield network_of_blocks(blocks, (3, 2 * side, 2 * side), seed=None), ("layers", "stream")[number % 2]


def test_rows_count_what_they_compute():
    """Row calls over all rows do as much as the whole layer, in no fewer tiles; half the rows have half of it."""
    network = network_of_blocks([MBConv(8, 8, 48, 5)], (8, 16, 16), seed=None)
    model = instruction_model("cortex-m7")
    for layer in network.layers:
        kind, features = work_of(layer, network)
        by_rows = work_of(layer, network, by_rows=True)
        assert by_rows[0] == kind + "@rows"
        assert features[:5] == by_rows[1][:5] and all(np.array(features) <= np.array(by_rows[1]))
        assert model.estimate(network, layer, 8) == pytest.approx(model.estimate(network, layer, 16) / 2)


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7"])
def test_the_models_that_come_along_price_every_network_of_the_space(cpu):
    for made, arch, shape in sampled(5, seed=3):
        network = network_of_blocks(made.blocks(arch), shape, seed=None)
        works = works_of(network, schedule(network))
        assert 0.5 < instruction_model(cpu).network(works) / network.macs < 20
        weights = sum(layer.weights.size for layer in network.layers if hasattr(layer, "weights"))
        assert weights < flash_model(cpu).network(flash_of(network.layers)) < 3 * weights + 40_000


def test_what_was_not_fitted_is_named():
    model = InstructionModel("test", {"network": (0.0,)})
    with pytest.raises(NetwrightError, match="pointwise"):
        model.of(("pointwise", (1.0,)))
    with pytest.raises(NetwrightError, match="cortex-m7"):
        instruction_model("cortex-m8")
    with pytest.raises(NetwrightError, match="none were given"):
        fit("test", [])
