"""Capturing: the operations that run, where they come from, and what lives how long."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from benchmarks.real_memory import autograd_saves
from netwright.core.errors import NetwrightError
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph


class Small(nn.Module):
    """Two convolutions with a shortcut, pooled and classified."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.body(x)
        return self.head(x.mean((2, 3)))


def kinds(graph: Graph, stage: str = "forward") -> list[str]:
    return [op.kind for op in graph.ops if op.stage == stage and not op.view]


def test_operations_come_in_order_with_shapes_paths_and_layers() -> None:
    graph = capture(Small(), torch.empty(2, 3, 16, 16, device="meta"))
    assert kinds(graph) == [
        "aten.convolution",
        "aten.native_batch_norm",
        "aten.relu",
        "aten.convolution",
        "aten.add",
        "aten.mean",
        "aten.addmm",
    ]
    ops = [op for op in graph.ops if not op.view]
    assert [op.path for op in ops] == ["stem.0", "stem.1", "stem.2", "body", "", "", "head"]
    assert [op.layer for op in ops][:2] == ["Conv2d", "BatchNorm2d"]
    assert graph.tensors[ops[0].outputs[0]].shape == (2, 8, 16, 16)
    assert ops[3].arguments["groups"] == 8
    assert graph.tensors[graph.outputs[0]].shape == (2, 5)
    assert graph.storage(graph.inputs[0]).bytes == 2 * 3 * 16 * 16 * 4
    assert graph.source == "shapes"
    assert not graph.notes


def test_parameters_are_counted_once_even_if_tied_or_never_used() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.idle = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    assert capture(Tied(), torch.empty(1, 6)).params == 36 + 6 + 6 + 12


@pytest.mark.parametrize("trainable", [None, ("first.weight",)])
def test_a_module_used_under_two_names_gets_its_own_weights_back(trainable: tuple[str, ...] | None) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.second = self.first

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    module = Twice()
    weight = module.first.weight
    graph = capture(module, torch.empty(1, 6), trainable=trainable)
    assert module.first.weight is weight and module.second.weight is weight
    assert graph.params == 42
    assert {graph.tensors[index].shape for index in graph.gradients.values()} == ({(6, 6)} if trainable else set())


def test_eager_lifetimes_follow_python_references() -> None:
    """In a plain chain each activation is freed before the operation after the one that read it."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid())
    graph = capture(net, torch.empty(1, 4))
    ops = [index for index, op in enumerate(graph.ops) if not op.view]
    first, second = (graph.storage(graph.ops[index].outputs[0]) for index in ops[:2])
    assert (first.born, second.born) == (ops[0], ops[1])
    assert ops[1] < (first.freed or 0) <= ops[2]
    assert graph.storage(graph.outputs[0]).freed is None


def test_views_share_a_storage_and_in_place_operations_write_to_it() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.flatten(torch.sigmoid(x), 1).mul_(2)

    graph = capture(Views(), torch.empty(2, 3, 4))
    sigmoid, view, in_place = graph.ops
    assert view.view
    assert not in_place.view
    assert in_place.writes == (graph.tensors[sigmoid.outputs[0]].storage,)
    assert sum(storage.role == "activation" for storage in graph.storages) == 1


def test_the_joint_graph_differentiates_only_what_learns() -> None:
    graph = capture(Small().train(), torch.empty(2, 3, 16, 16), trainable=["head.bias", "body.weight"])
    assert set(graph.gradients) == {"head.bias", "body.weight"}
    (backward,) = [op for op in graph.ops if op.kind == "aten.convolution_backward"]
    assert backward.path == "body"
    assert backward.arguments["output_mask"] == [False, True, False]
    assert graph.tensors[graph.gradients["body.weight"]].shape == (8, 1, 3, 3)


def test_nothing_learns_nothing_is_saved() -> None:
    graph = capture(Small(), torch.empty(2, 3, 16, 16), trainable=[])
    assert not graph.gradients
    assert not graph.saved
    assert not kinds(graph, "backward")


@pytest.mark.parametrize("frozen", [(), ("stem",), ("stem", "body")])
def test_saved_bytes_are_those_of_a_real_run(frozen: tuple[str, ...]) -> None:
    net = Small().train()
    names = [name for name, _ in net.named_parameters() if not name.startswith(frozen or ("nothing",))]
    graph = capture(net, torch.empty(4, 3, 16, 16), trainable=names)
    activations = [graph.storages[number] for number in graph.saved]
    predicted = sum(storage.bytes for storage in activations if storage.role in ("activation", "input"))

    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in names)
    out, saved = autograd_saves(net, torch.randn(4, 3, 16, 16))
    assert predicted == saved
    assert out.requires_grad


def test_a_module_that_looks_at_values_runs_on_random_numbers_and_says_so() -> None:
    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum().item() > 0 else x + 1

    graph = capture(Looks(), torch.empty(2, 3, device="meta"))
    assert graph.source == "values"
    assert "random numbers" in graph.notes[0]
    assert graph.ops


def test_errors_say_what_was_given() -> None:
    with pytest.raises(NetwrightError, match=r"Small does not run on 1x4x16x16\..*Check the size"):
        capture(Small(), torch.empty(1, 4, 16, 16))
    with pytest.raises(NetwrightError, match=r"no parameter 'heda\.bias'"):
        capture(Small(), torch.empty(1, 3, 16, 16), trainable=["heda.bias"])


def test_backward_operations_belong_to_the_layer_of_their_forward_operation() -> None:
    """Also where a buffer is updated in between, and where an in-place activation saves a clone."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), nn.Conv2d(4, 2, 1))
    names = [name for name, _ in module.named_parameters()]
    graph = capture(module.train(), torch.empty(2, 3, 8, 8), trainable=names)
    found = [(op.kind, op.path) for op in graph.ops if op.stage == "backward" and op.kind.endswith("_backward")]
    assert found == [
        ("aten.convolution_backward", "3"),
        ("aten.hardtanh_backward", "2"),
        ("aten.native_batch_norm_backward", "1"),
        ("aten.convolution_backward", "0"),
    ]


def test_graphs_and_traits_are_read_without_torch_and_capture_loads_it() -> None:
    program = (
        "import sys; import netwright.graph.graph, netwright.graph.operations.table; before = 'torch' in sys.modules; "
        "import netwright.graph.capture.trace; print(before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
