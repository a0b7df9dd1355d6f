import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.nn.fuse import Fuse
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.runtime import onnxruntime
from netwright.runtime.chain import chain_onnx
from netwright.runtime.export import export_onnx, quick_onnx
from netwright.runtime.runtimes import RUNTIMES, Runtime, runtime

CHAIN = [
    (ConvNorm(3, 16, 3, 2, "hswish"), (3, 24, 24)),
    (MBConv(16, 24, 48, 5, 2, "hswish", squeeze_excite=True), (16, 12, 12)),
    (MBConv(24, 24, 72, 3, 1, "relu"), (24, 6, 6)),
    (MBConv(24, 24, 72, 3, 1, "relu"), (24, 6, 6)),
    (PoolHead(24, 10, 32), (24, 6, 6)),
]


def lively(module: nn.Module) -> nn.Module:
    """Give every tensor values of its own, so that no part of the network is the identity or constant."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.2 * noise.abs() if "var" in name else tensor + 0.3 * noise)
    return module.eval()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return lively(nn.Sequential(*(block.build() for block, _ in CHAIN)))


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return export_onnx(network, (3, 24, 24), tmp_path_factory.mktemp("onnx") / "net.onnx", metadata={"mean": "[0.5]"})


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((1, 3, 24, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(network, x):
    with torch.no_grad():
        return network(torch.from_numpy(x)).numpy()


def parts_of(network, of):
    return [of.prepare(module, shape) for module, (_, shape) in zip(network, CHAIN, strict=True)]


@pytest.mark.parametrize("name", RUNTIMES)
def test_whole_and_chained_programs_compute_what_torch_computes(name, network, x, expected):
    chosen = runtime(name)
    assert np.abs(expected).max() > 0.1
    for program in (chosen.compile(network, (3, 24, 24)), chosen.chain(parts_of(network, chosen))):
        np.testing.assert_allclose(program.run(x), expected, atol=1e-4)


@pytest.mark.parametrize("name", RUNTIMES)
def test_networks_that_are_being_trained_are_measured_as_they_will_be_used(name, network, x, expected):
    training = copy.deepcopy(network).train()
    np.testing.assert_allclose(runtime(name).compile(training, (3, 24, 24)).run(x), expected, atol=1e-4)
    assert training.training and all(parameter.requires_grad for parameter in training.parameters())


def test_the_official_export_computes_the_same_for_any_batch(network, exported, x, expected):
    program = onnxruntime.load(exported)
    np.testing.assert_allclose(program.run(x), expected, atol=1e-4)
    many = np.concatenate([x, 2 * x, -x])
    with torch.no_grad():
        np.testing.assert_allclose(program.run(many), network(torch.from_numpy(many)).numpy(), atol=1e-4)
    assert program.metadata["mean"] == "[0.5]"


def test_a_fixed_batch_refuses_others(network, x, tmp_path):
    program = onnxruntime.load(export_onnx(network, (3, 24, 24), tmp_path / "net.onnx", batch=1))
    assert program.run(x).shape == (1, 10)
    with pytest.raises(Exception, match="invalid dimensions"):
        program.run(np.concatenate([x, x]))


def operations(model):
    """Return what a model computes, in order; the exporters write a linear layer without bias in two ways."""
    left_out, same = ("Constant", "Identity"), {"Gemm": "MatMul"}
    return [same.get(node.op_type, node.op_type) for node in model.graph.node if node.op_type not in left_out]


def test_quick_and_chained_models_hold_the_operations_of_the_official_export(network, exported):
    official = operations(onnx.load(exported))
    chained = chain_onnx(parts_of(network, RUNTIMES["onnxruntime"]))
    onnx.checker.check_model(chained, full_check=True)
    assert "BatchNormalization" not in official and "MatMul" in official
    assert operations(quick_onnx(network, (3, 24, 24))) == official
    assert operations(chained) == official


def test_equal_blocks_in_a_chain_keep_weights_of_their_own(network):
    chained = chain_onnx(parts_of(network, RUNTIMES["onnxruntime"]))
    names = [weight.name for weight in chained.graph.initializer]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} == set("01234")


def test_export_changes_neither_the_module_nor_standard_output(capfd, tmp_path):
    module = CHAIN[0][0].build().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_onnx(module, (3, 24, 24), tmp_path / "net.onnx")
    quick_onnx(module, (3, 24, 24))
    assert module.training and all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert capfd.readouterr().out == ""


def test_what_cannot_be_exported_is_a_clear_error_and_writes_nothing(tmp_path):
    class Branching(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum().item() > 0 else x

    with pytest.raises(NetwrightError, match=r"Branching with input .* cannot be exported"):
        export_onnx(Branching(), (3, 8, 8), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_eager_leaves_the_number_of_threads_as_it_was(network, x):
    before = torch.get_num_threads()
    RUNTIMES["eager"].compile(network, (3, 24, 24), threads=before + 1).run(x)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("content", [b"", b"not onnx", bytes(range(256)) * 8])
def test_damaged_onnx_files_are_clear_errors(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(NetwrightError, match=r"bad\.onnx is not an ONNX model"):
        onnxruntime.load(path)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.99])
def test_cut_off_onnx_files_are_clear_errors(exported, tmp_path, keep):
    content = exported.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(NetwrightError, match=r"cut\.onnx is not an ONNX model"):
        onnxruntime.load(path)


def test_a_missing_file_and_an_unknown_runtime_are_clear_errors(tmp_path):
    with pytest.raises(NetwrightError, match=r"none\.onnx does not exist"):
        onnxruntime.load(tmp_path / "none.onnx")
    with pytest.raises(NetwrightError, match="Did you mean 'onnxruntime'"):
        runtime("onnxruntim")


def test_a_model_of_two_inputs_is_refused(tmp_path):
    path = tmp_path / "two.onnx"
    onnx.save(quick_onnx(Fuse((4, 8), 4).build(), (4, 6, 6), (8, 6, 6)), path)
    with pytest.raises(NetwrightError, match=r"two\.onnx has the inputs .*, .*; netwright runs models with one input"):
        onnxruntime.load(path)


def test_inputs_that_a_node_leaves_out_stay_left_out():
    """Upsampling is a Resize without regions of interest."""
    module, shape = lively(Fuse((4,), 4, upsample=(2,)).build()), (4, 6, 6)
    part = RUNTIMES["onnxruntime"].prepare(module, shape)
    assert any(not name for node in part.graph.node for name in node.input)
    x = np.random.default_rng(1).standard_normal((1, *shape)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(RUNTIMES["onnxruntime"].chain([part]).run(x), expected, atol=1e-5)


@pytest.mark.parametrize("chained", [False, True])
def test_joined_programs_get_the_threads_that_were_asked_for(chained):
    asked = []

    def keep(*parts, threads=1, **more):
        asked.append(threads)

    own = Runtime("torch", keep, lambda module, *shapes: module, keep if chained else None)
    own.join([own.part(nn.Identity(), (3, 8, 8))] if chained else [(nn.Identity(), ((3, 8, 8),))], threads=3)
    assert asked == [3]
