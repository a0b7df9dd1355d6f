"""A family whose blocks read two earlier ones goes the whole way, and every promise holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.exactness import differences, trained_like
from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.core.errors import NetwrightError
from netwright.device.features import block_key, features
from netwright.device.latency import LatencyModel
from netwright.device.measure import measure
from netwright.graph.integers.interpret import interpret
from netwright.mcu.compile import compile_network
from netwright.mcu.price.chain import chain_memory
from netwright.mcu.price.from_blocks import network_of_blocks
from netwright.mcu.run.host import build_host
from netwright.mcu.schedule.schedule import schedule
from netwright.models.arch import Arch
from netwright.nn.wiring import BranchedNetwork, wire
from netwright.report.drawing import Scale, draw
from netwright.runtime import onnxruntime
from netwright.runtime.export import export_onnx
from netwright.runtime.runtimes import RUNTIMES, runtime
from netwright.searching.limits.arena import ArenaTable
from netwright.searching.limits.budget import Budget
from netwright.searching.limits.mcu_prices import mcu_prices
from netwright.searching.strategies.evolution import search
from netwright.searching.tables import AdditiveTable, macs_price, params_price
from netwright.supernet.supernet import Supernet
from tests.extension.two_branch import two_branch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def archs(made, count: int, seed: int = 0) -> list[Arch]:
    space = made.space
    drawn = [space.decode(genes) for genes in space.sample(np.random.default_rng(seed), count)]
    return [space.smallest(), space.largest(), *drawn]


def trained(made, steps: int = 6) -> Supernet:
    """Return a supernet after a few training steps over random archs."""
    torch.manual_seed(0)
    supernet = Supernet(made)
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.05, momentum=0.9)
    targets_B = torch.arange(8) % 4
    for arch in archs(made, steps):
        x_BCHW = torch.randn(8, 3, arch.resolution, arch.resolution) + targets_B.view(8, 1, 1, 1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(supernet(x_BCHW, arch), targets_B).backward()
        optimizer.step()
    return supernet


@pytest.fixture(scope="module", params=["sum", pytest.param("concatenate", marks=pytest.mark.slow)])
def supernet(request):
    return trained(two_branch(join=request.param))


def test_supernet_and_extracted_network_are_equal_also_in_gradients(supernet):
    made = supernet.family
    lively = trained_like(Supernet(made))
    for arch in archs(made, 8, seed=1):
        assert max(differences(lively, arch, torch.randn(4, 3, arch.resolution, arch.resolution))) <= 1e-5
        net = supernet.copy_of(arch).eval()
        assert isinstance(net, BranchedNetwork)
        assert net.state_dict().keys() == made.build(arch).state_dict().keys()
        x_BCHW = torch.randn(2, 3, arch.resolution, arch.resolution)
        assert torch.equal(supernet.eval()(x_BCHW, arch), net(x_BCHW))


def test_calibration_measures_each_network_on_its_own_activations(supernet):
    arch = supernet.family.space.smallest()
    net = supernet.extract(arch, [torch.randn(16, 3, arch.resolution, arch.resolution) + 2])
    shared = supernet.net.get_buffer("fuse.branches.1.norm.running_mean")
    assert not torch.equal(net.get_buffer("fuse.branches.1.norm.running_mean"), shared)


def test_counts_equal_a_real_run():
    made = two_branch(join="concatenate")
    for arch in archs(made, 4):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            net = made.build(arch).eval()
            net(torch.empty(1, 3, arch.resolution, arch.resolution))
        assert made.macs(arch) == counter.get_total_flops() // 2
        assert made.params(arch) == sum(parameter.numel() for parameter in net.parameters())


def test_an_arch_of_another_space_is_refused_everywhere(supernet):
    stranger = Arch(32, widths=(1.0,))
    made = supernet.family
    for use in (made.build, made.macs, made.params, made.priced_blocks, supernet.copy_of, supernet.cut):
        with pytest.raises(NetwrightError, match=r"two-branch: depths\[0\]"):
            use(stranger)
    with pytest.raises(NetwrightError, match=r"two-branch: depths\[0\]"):
        supernet(torch.randn(1, 3, 32, 32), stranger)


def test_tables_equal_the_direct_sums_and_minima_are_exact(supernet):
    made = supernet.family
    macs = AdditiveTable(made, macs_price)
    params = AdditiveTable(made, params_price, layout=macs.layout)
    genes = made.space.sample(np.random.default_rng(2), 200)
    drawn = [made.space.decode(row) for row in genes]
    assert macs.layout.branches
    assert macs(genes).tolist() == [made.macs(arch) for arch in drawn]
    assert params(genes).tolist() == [made.params(arch) for arch in drawn]
    value, row = macs.minimum()
    assert value == made.macs(made.space.decode(row)) == made.macs(made.space.smallest())


def test_a_search_keeps_its_limits(supernet):
    made = supernet.family
    bound = made.macs(made.space.largest()) // 4
    found = search(made.space, lambda genes: genes.sum(1).astype(float), Budget(macs=bound).limits(made), generations=4)
    assert len(found.genes) and all(made.macs(made.space.decode(row)) <= bound for row in found.genes)


def test_the_arena_of_a_branched_network_is_that_of_its_plan(supernet):
    made = supernet.family
    for arch in archs(made, 6, seed=3):
        blocks, shape = made.blocks(arch), (3, arch.resolution, arch.resolution)
        network = network_of_blocks(blocks, shape, seed=None)
        assert network.macs == made.macs(arch)
        for mode in ("layers", "stream"):
            plan = schedule(network, mode=mode)
            assert (
                chain_memory(blocks, shape, mode=mode)
                <= plan.arena_bytes
                <= 1.1 * chain_memory(blocks, shape, mode=mode)
            )


def test_arena_tables_plan_branched_networks_whole():
    made = two_branch()
    prices = mcu_prices("stm32f746", sram_bytes=8000)
    table = ArenaTable(made, prices, 8000)
    genes = made.space.sample(np.random.default_rng(4), 20)
    for row, found in zip(genes, table(genes), strict=True):
        arch = made.space.decode(row)
        assert found == chain_memory(made.blocks(arch), (3, arch.resolution, arch.resolution))
        cost = prices.network(made.blocks(arch), (3, arch.resolution, arch.resolution))
        assert cost.instructions > 0 and cost.flash_bytes > 0
    value, row = table.minimum()
    assert table(row[None])[0] == value
    assert ((table.excess(genes, 8000) == 0) == (table(genes) <= 8000)).all()


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtimes_compute_what_torch_computes_whole_and_joined(supernet, name):
    made, chosen = supernet.family, runtime(name)
    for arch in archs(made, 2, seed=5):
        net = supernet.copy_of(arch).eval()
        placed = made.priced_blocks(arch)
        x = np.random.default_rng(0).standard_normal((1, 3, arch.resolution, arch.resolution)).astype(np.float32)
        with torch.no_grad():
            expected = net(torch.from_numpy(x)).numpy()
        parts = [chosen.part(net.get_submodule(one.name), *one.shapes) for one in placed]
        wiring = wire({one.name: one.wired for one in placed})
        for program in (chosen.compile(net, x.shape[1:]), chosen.join(parts, wiring=wiring)):
            np.testing.assert_allclose(program.run(x), expected, atol=1e-4)
        fuse = next(at for at, one in enumerate(placed) if one.name == "fuse")
        inputs = [np.random.default_rng(1).standard_normal((1, *s)).astype(np.float32) for s in placed[fuse].shapes]
        with torch.no_grad():
            alone = net.get_submodule("fuse")(*map(torch.from_numpy, inputs)).numpy()
        np.testing.assert_allclose(chosen.join([parts[fuse]]).run(*inputs), alone, atol=1e-4)


def test_latency_is_measured_fitted_and_predicted_by_block_and_shapes(tmp_path):
    made = two_branch()
    genes = np.unique(made.space.sample(np.random.default_rng(6), 60), axis=0)[:24]
    networks = [made.priced_blocks(made.space.decode(row)) for row in genes]
    model = measure(networks, space="two-branch", runtime="eager", held_out=4, seconds=0.1)
    model.save(tmp_path / "model.json")
    assert LatencyModel.load(tmp_path / "model.json") == model
    fuse = next(one for one in networks[0] if one.name == "fuse")
    assert len(fuse.shapes) == 2 and block_key(*fuse.key) in model.blocks_ms
    assert model.unmeasured(networks[0]) == 0 < model.predict(networks[0])
    assert features(*fuse.key)["block.in"] * 1e6 == sum(np.prod(shape) for shape in fuse.shapes)
    table = AdditiveTable(made, model.block_ms, model.offset_ms)
    np.testing.assert_allclose(table(genes), [model.predict(network) for network in networks])


def test_the_exported_network_is_equal(supernet, tmp_path):
    for arch in archs(supernet.family, 1, seed=7):
        net = supernet.copy_of(arch).eval()
        shape = (3, arch.resolution, arch.resolution)
        program = onnxruntime.load(export_onnx(net, shape, tmp_path / "net.onnx"))
        x_BCHW = torch.randn(3, *shape)
        with torch.no_grad():
            np.testing.assert_allclose(program.run(x_BCHW.numpy()), net(x_BCHW).numpy(), atol=1e-4)


def test_generated_c_is_the_interpreter_bit_for_bit(supernet, tmp_path):
    arch = supernet.family.space.decode(supernet.family.space.sample(np.random.default_rng(8), 1)[0])
    shape = (3, arch.resolution, arch.resolution)
    net = supernet.extract(arch, [torch.randn(16, *shape)])
    model = quantize(net, [torch.randn(8, *shape) for _ in range(2)])
    compiled = compile_network(model, tmp_path / "net")
    assert compiled.network.macs == supernet.family.macs(arch)
    program = build_host(tmp_path / "net", sanitize=True)
    stored = to_integers(model, torch.randn(5, *shape))
    expected = [np.asarray(interpret(model, [image[None]])[0]).ravel() for image in stored]
    assert np.array_equal(program.run(stored.reshape(5, -1)), np.stack(expected))


def test_a_report_draws_what_is_read(supernet):
    blocks = supernet.family.priced_blocks(supernet.family.space.largest())
    picture = draw(blocks, "two branches", Scale.of([blocks])).text
    assert "Fuse of " in picture and "detail.1" in picture
