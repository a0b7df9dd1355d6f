"""Every private interface of torch that netwright uses does what is expected of it, and its absence is told by name."""

import gc
import logging

import pytest
import torch
from torch import nn

from netwright.core import torch_internals as internals
from netwright.core.torch_internals import TRIED, TorchInternalsError
from netwright.graph.capture.trace import capture


class Pair(torch.Tensor):
    """A tensor made of two."""

    @staticmethod
    def __new__(cls, first, second):
        return torch.Tensor._make_wrapper_subclass(cls, first.shape, dtype=first.dtype)

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __tensor_flatten__(self):
        return ["first", "second"], None

    @classmethod
    def __tensor_unflatten__(cls, inner, meta, size, stride):
        return cls(inner["first"], inner["second"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError


def test_nodes_are_numbered_and_the_running_one_is_known():
    seen = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, *gradients):
            seen.append(internals.number_of_backward_node())
            return gradients[0]

    assert internals.number_of_backward_node() == -1
    x = torch.ones(2, requires_grad=True)
    y = Watched.apply(x)
    made = internals.node_number()
    (y + 1).sum().backward()
    assert seen == [made]
    assert internals.node_number() > made


def test_storages_have_addresses_that_views_share_and_that_are_kept_from_being_used_again():
    x, y = torch.empty(8), torch.empty(8)
    assert internals.storage_address(x) == internals.storage_address(x[2:].view(2, 3))
    assert internals.storage_address(x) != internals.storage_address(y)
    reference = internals.StorageReference(x)
    assert reference.address == internals.storage_address(x)
    assert not internals.is_storage_gone(reference.address)
    del x
    gc.collect()
    assert internals.is_storage_gone(reference.address)
    assert internals.storage_address(torch.empty(8)) != reference.address


def test_fake_tensors_have_shapes_and_no_data():
    with internals.fake_tensors() as mode:
        x = torch.empty(1 << 20, 1 << 20)
        assert (x @ x).shape == (1 << 20, 1 << 20)
        assert type(mode.from_tensor(torch.ones(2))).__name__ == "FakeTensor"
        assert (torch.empty(3) + nn.Parameter(torch.ones(3))).shape == (3,)
        with internals.real_tensors():
            assert torch.ones(3).sum().item() == 3
    logger = logging.getLogger(internals.FAKE_TENSOR_LOGGER)
    assert logger.name in logging.Logger.manager.loggerDict


def test_composed_tensors_fall_into_their_parts():
    first, second = torch.ones(2), torch.zeros(2)
    assert internals.is_composed(Pair(first, second)) and not internals.is_composed(first)
    assert internals.parts_of(first)[0] is first
    parts = internals.parts_of(Pair(Pair(first, second), first))
    assert [id(part) for part in parts] == [id(first), id(second), id(first)]


def test_operations_tell_their_schema():
    relu = torch.ops.aten.relu_.default
    assert internals.schema_of(relu).name == "aten::relu_"
    assert [argument.name for argument in internals.schema_of(torch.ops.aten.add.Tensor).arguments][:2] == [
        "self",
        "other",
    ]
    assert internals.operation_name(relu) == "relu_"
    assert internals.is_operation(relu) and not internals.is_operation(torch.relu)
    formula = internals.flop_formula(torch.ops.aten.mm.default)
    assert formula is not None and formula(torch.empty(2, 3), torch.empty(3, 5), out_val=torch.empty(2, 5)) == 60
    assert internals.flop_formula(torch.ops.aten.relu.default) is None


def test_a_dispatch_mode_sees_operations():
    kinds = []

    class Watching(internals.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kinds.append(internals.operation_name(func))
            return func(*args, **(kwargs or {}))

    with Watching():
        torch.ones(2) * 2
    assert kinds == ["ones", "mul"]


def test_trees_are_walked_and_mapped():
    tree = {"a": [1, (2, None)], "b": 3}
    assert [leaf for leaf in internals.tree_iter(tree) if leaf is not None] == [1, 2, 3]
    assert internals.tree_map(lambda x: x and 2 * x, tree) == {"a": [2, (4, None)], "b": 6}
    assert logging.getLogger(internals.PYTREE_LOGGER).name == internals.tree_map.__module__


def test_products_and_interpolation():
    a = torch.randint(-127, 127, (32, 32), dtype=torch.int8)
    assert torch.equal(internals.int8_product(a, a), a.int() @ a.int())
    starts, ends = [torch.zeros(3), torch.ones(2)], [torch.ones(3), torch.zeros(2)]
    internals.lerp_all(starts, ends, 0.25)
    assert torch.equal(starts[0], torch.full((3,), 0.25)) and torch.equal(starts[1], torch.full((2,), 0.75))


def test_state_of_modules():
    part = nn.Linear(2, 3)
    net = nn.ModuleDict({"a": part, "b": part})
    assert internals.children_of(net) == {"a": part, "b": part}
    assert internals.parameters_of(part)["weight"] is part.weight
    lent = torch.ones(3, 2)
    internals.parameters_of(part)["weight"] = lent  # pyright: ignore[reportArgumentType]
    assert part.weight is lent
    norm = nn.BatchNorm2d(4)
    assert set(internals.buffers_of(norm)) == {"running_mean", "running_var", "num_batches_tracked"}
    assert isinstance(norm, internals.BatchNorm) and not isinstance(nn.GroupNorm(1, 4), internals.BatchNorm)
    bare = nn.Linear.__new__(nn.Linear)
    bare.__dict__.update(vars(part))
    internals.set_module_state(bare, {"weight": torch.zeros(3, 2), "bias": None}, {}, {})
    assert bare(torch.ones(2)).tolist() == [0, 0, 0]
    assert set(internals.MODULE_STATE) <= set(vars(nn.Module()))


def test_a_convolution_with_another_weight():
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(2, 3, 3, 3)
    assert torch.equal(internals.convolve(layer, x, weight), nn.functional.conv2d(x, weight, None, 2, 1))


@pytest.fixture
def fresh():
    """Forget what was found in this torch, before and after."""
    for known in (internals._interface, internals.check_capture):
        known.cache_clear()
    yield
    for known in (internals._interface, internals.check_capture):
        known.cache_clear()


def refused() -> str:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(TorchInternalsError) as told:
        capture(net, torch.empty(1, 3, 8, 8), trainable=["0.weight"])
    message = str(told.value)
    assert f"torch {TRIED}; this is {torch.__version__}" in message
    assert "Check the size" not in message
    return message


PATHS = [
    "torch.autograd._get_sequence_nr",
    "torch._C._current_autograd_node",
    "torch.UntypedStorage._expired",
    "torch._subclasses.fake_tensor.FakeTensorMode",
    "torch._subclasses.fake_tensor.unset_fake_temporarily",
]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("path", PATHS)
def test_what_this_torch_lacks_is_named_with_the_versions_that_have_it(monkeypatch, path):
    """Formerly: does not run on 1x3x8x8 ... Check the size and the number of the inputs."""
    found = internals._interface

    def without(wanted):
        return found(f"{wanted}_no_more" if wanted == path else wanted)

    without.cache_clear = found.cache_clear  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(internals, "_interface", without)
    assert path in refused()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("owner", "name"), [(torch.autograd, "_get_sequence_nr"), (torch._C, "_current_autograd_node")]
)
def test_what_takes_other_arguments_is_named_too(monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, lambda one, two, three: None)
    assert name in refused() and "TypeError" in refused()
