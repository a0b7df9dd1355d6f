"""Capturing what is unlike most modules: it works, or says why not, and leaves module and process as they were."""

from __future__ import annotations

import contextlib
import random
import sys
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from netwright.core.errors import NetwrightError
from netwright.cost.count import count
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph

X = torch.zeros(2, 6)
Pair = namedtuple("Pair", "first second")


class Does(nn.Module):
    """A linear layer, attributes, and a forward pass of one's own."""

    def __init__(self, forward: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.does = forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        return self.does(self, *inputs, **keywords)


@dataclass
class Result:
    logits: Tensor
    rest: Any = None


def macs(graph: Graph) -> int:
    return count(graph).macs


def all_names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize(
    ("forward", "outputs"),
    [
        (lambda self, x: Result(self.linear(x), [x]), 2),
        (lambda self, x: {"a": [self.linear(x), (x, {"b": None})], "c": Pair(self.linear(x), 2)}, 3),
        (lambda self, x: None, 0),
        (lambda self, x: 3, 0),
    ],
)
def test_outputs_of_any_form(forward: Callable[..., Any], outputs: int) -> None:
    module = Does(forward)
    assert len(capture(module, X).outputs) == outputs
    joint = capture(module, X, trainable=all_names(module))
    assert set(joint.gradients) == (set(all_names(module)) if outputs else set())


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.linear(x) if x.sum() > -1e9 else x,
        lambda self, x: self.linear(x)[x[:, 0].abs() >= 0],
        lambda self, x: torch.from_numpy(self.linear(x).detach().numpy() + 1) + self.linear(x)[:0].sum(),
        lambda self, x: self.linear(x)[:, : len(x[0].tolist())],
    ],
)
def test_what_looks_at_values_runs_on_random_numbers_and_says_so(forward: Callable[..., Any]) -> None:
    graph = capture(Does(forward), X)
    assert graph.source == "values" and "random numbers" in graph.notes[0]
    assert macs(graph) >= 72


def test_random_numbers_are_the_same_every_time_and_pass_through_a_deep_network() -> None:
    """Weights of a module without data are drawn so that about half of the last values are positive."""
    with torch.device("meta"):
        layers = [part for _ in range(30) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64))]
        net = Does(lambda self, x: (y := self.net(x))[y > 0], net=nn.Sequential(*layers))
    x = torch.empty(32, 64, device="meta")
    first, second = (capture(net, x) for _ in range(2))
    assert first.tensors == second.tensors
    assert 32 * 64 / 8 < first.tensors[first.outputs[0]].elements < 32 * 64 * 7 / 8


def test_random_numbers_are_not_tried_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netwright.graph.capture.trace._free_memory", lambda: 100.0)
    with pytest.raises(NetwrightError, match=r"more than 0\.0 GB of the 0\.0 GB that are free"):
        capture(Does(lambda self, x: self.linear(x)[x[:, 0] > 0]), X)


def test_tensors_held_as_plain_attributes_are_used_and_stay() -> None:
    scale, counter = torch.full((6,), 2.0), torch.zeros(1)
    module = Does(lambda self, x: self.linear(x) * self.scale + self.counter.add_(1), scale=scale, counter=counter)
    assert macs(capture(module, X)) == 72
    module.does = lambda self, x: (
        self.linear(x) * (self.scale if x.sum() > -1e9 else self.counter.add_(1)) + self.counter.add_(1)
    )
    assert capture(module, X).source == "values"
    assert module.scale is scale and module.counter is counter
    assert counter.item() == 0
    with torch.device("meta"):
        module = Does(lambda self, x: self.linear(x) * self.scale + torch.arange(6), scale=torch.ones(6))
        assert macs(capture(module, X)) == 72
    assert module.scale.is_meta and module.linear.weight.is_meta


def test_tied_weights_are_counted_once_and_learn_together() -> None:
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    module = nn.Sequential(first, second, first)
    graph = capture(module, X, trainable=all_names(module))
    assert graph.params == 36 + 12
    assert capture(module, X).params == 36 + 12
    assert second.weight is first.weight is module[2].weight


def _pruned(linear: nn.Linear) -> nn.Linear:
    prune.l1_unstructured(linear, "weight", 0.5)
    return linear


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal, _pruned]
)
def test_computed_weights(wrap: Callable[[nn.Module], nn.Module]) -> None:
    module = wrap(nn.Linear(6, 6))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    graph = capture(module, X, trainable=all_names(module))
    assert set(graph.gradients) == set(all_names(module))
    assert macs(capture(module, X)) >= 72
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_wrapped_and_compiled_modules() -> None:
    linear = nn.Linear(6, 6)
    assert macs(capture(nn.DataParallel(linear), X)) == 72
    joint = capture(nn.DataParallel(linear), X, trainable=["module.weight"])
    assert set(joint.gradients) == {"weight"}
    assert macs(capture(torch.compile(linear), X)) == 72  # type: ignore[arg-type]
    compiled = nn.Sequential(linear)
    compiled.compile()
    assert macs(capture(compiled, X)) == 72


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_modules_for_inference() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))
    weight = next(scripted.parameters()).detach().clone()
    for module in (scripted, torch.jit.trace(nn.Linear(6, 6), X), Does(lambda self, x: self.inner(x), inner=scripted)):
        graph = capture(module, X)
        assert macs(graph) == 72
        assert graph.params == sum(tensor.numel() for tensor in module.parameters())
    with pytest.raises(NetwrightError, match="for inference only"):
        capture(scripted, X, trainable=[])
    assert torch.equal(next(scripted.parameters()), weight)
    assert scripted.training


def test_sparse_tensors_are_refused_by_name_of_their_layout() -> None:
    module = Does(lambda self, x: torch.sparse.mm(self.k, self.linear(x).t()), k=torch.eye(6).to_sparse())
    with pytest.raises(NetwrightError, match="sparse_coo; only dense tensors"):
        capture(module, X)
    module = nn.Linear(6, 6)
    module.weight = nn.Parameter(torch.eye(6).to_sparse())
    with pytest.raises(NetwrightError, match="sparse_coo; only dense tensors"):
        capture(module, X)
    with pytest.raises(NetwrightError, match=r"lazy modules.*call the module once"):
        capture(nn.LazyLinear(6), X)


def test_complex_numbers_and_narrow_types() -> None:
    module = Does(lambda self, x: torch.fft.ifft(torch.fft.fft(x) @ self.w).real, w=nn.Parameter(torch.ones(6, 4) * 1j))
    graph = capture(module, X)
    assert {"complex64"} < {tensor.dtype for tensor in graph.tensors}
    for dtype in (torch.float16, torch.bfloat16):
        graph = capture(nn.Linear(6, 6).to(dtype), X.to(dtype))
        assert count(graph).macs_by_dtype == {str(dtype).removeprefix("torch."): 72}


def test_operations_of_other_threads_are_missed_and_that_is_said() -> None:
    with ThreadPoolExecutor(1) as pool:
        graph = capture(Does(lambda self, x: pool.submit(self.linear, x).result()), X)
    assert "operations that were not seen" in graph.notes[0]


@pytest.mark.parametrize("error", [ZeroDivisionError("zero"), KeyError("key"), RecursionError("deep"), MemoryError()])
def test_whatever_a_module_raises_becomes_one_error(error: Exception) -> None:
    def fails(self: Any, x: Tensor) -> Tensor:
        raise error

    with pytest.raises(NetwrightError, match=f"Does does not run on 2x6. {type(error).__name__}"):
        capture(Does(fails), X)


def _state_of_torch() -> list[Any]:
    return [
        torch.random.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # type: ignore[index,union-attr]
        random.getstate(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.backends.mha.get_fastpath_enabled(),
        torch.get_num_threads(),
        torch.overrides._get_current_function_mode_stack(),
        torch.utils._python_dispatch._get_current_dispatch_mode_stack(),
        sys.getrecursionlimit(),
    ]


def _state_of(module: nn.Module) -> list[Any]:
    found: list[Any] = []
    for name, part in module.named_modules():
        hooks = [len(value) for key, value in vars(part).items() if "hooks" in key and value is not None]
        plain = {key: id(value) for key, value in vars(part).items()}
        held = {key: [id(one) for one in value] for key, value in vars(part).items() if isinstance(value, list)}
        held |= {key: list(value) for key, value in vars(part).items() if isinstance(value, dict)}
        found.append((name, part.training, hooks, plain, held))
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        grad = None if tensor.grad is None else tensor.grad.tolist()
        found.append((name, id(tensor), tensor.requires_grad, grad, tensor._version, tensor.tolist()))
    return found


def _disturb(self: Any, x: Tensor) -> Tensor:
    """Do everything that a well-bred module does not."""
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    torch.set_default_dtype(torch.float64)
    torch.set_autocast_enabled("cpu", True)
    torch.set_grad_enabled(not torch.is_grad_enabled())
    self.cache["x"] = self.kept = self.linear(x)
    self.seen.append(x)
    self.linear.weight.data.mul_(2)
    self.eval() if self.training else self.train()
    for parameter in self.parameters():
        parameter.requires_grad_(False)
    if self.fails:
        raise ValueError("on purpose")
    return self.norm(self.drop(self.linear(x)))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("reads_values", [False, True])
def test_module_and_process_are_left_as_they_were(fails: bool, train: bool, reads_values: bool) -> None:
    module = Does(
        (lambda self, x: _disturb(self, x) + (x.sum().item() if reads_values else 0)),
        norm=nn.BatchNorm1d(6),
        drop=nn.Dropout(),
        cache={},
        seen=[1],
        fails=fails,
    )
    module.norm.eval()
    module.linear.bias.requires_grad_(False)
    module.linear.weight.grad = torch.ones(6, 6)
    module.linear.register_forward_hook(lambda *_: None)
    before, torch_before = _state_of(module), _state_of_torch()
    with pytest.raises(NetwrightError, match="on purpose") if fails else contextlib.nullcontext():
        capture(module, X, trainable=["linear.weight"] if train else None)
    assert _state_of(module) == before
    assert _state_of_torch() == torch_before
    assert module.linear.weight.grad is not None


def test_the_mode_around_does_not_matter() -> None:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    expected = [op.kind for op in capture(module, X, trainable=["0.weight"]).ops]
    for mode in (torch.no_grad(), torch.inference_mode(), torch.device("meta")):
        with mode:
            assert [op.kind for op in capture(module, X, trainable=["0.weight"]).ops] == expected
