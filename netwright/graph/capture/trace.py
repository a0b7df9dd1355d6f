"""Run a module once on tensors without data and write down its operations.

The module runs under torch's FakeTensorMode with its parameters replaced by shapes, so it needs no memory, keeps its weights
and may itself live on the meta device. Where that fails, because the module looks at values, it runs once more on real
random numbers, and the graph says so.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parameter import is_lazy

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import (
    TorchInternalsError,
    check_capture,
    fake_tensors,
    is_composed,
    parts_of,
    real_tensors,
    tree_map,
)
from netwright.graph.capture.draws import Draws, note_of_draws, reseed
from netwright.graph.capture.recorder import ModuleStack, Recorder
from netwright.graph.capture.undisturbed import replace_plain_tensors, tensors_in, undisturbed
from netwright.graph.capture.weights import packed_weights, roles_of_parts
from netwright.graph.graph import Graph

if TYPE_CHECKING:
    from netwright.core.torch_internals import FakeTensorMode


def capture(
    module: nn.Module,
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    trainable: Collection[str] | None = None,
    values: bool = True,
) -> Graph:
    """Return the operations of one call of a module, which is left as it was.

    Without `trainable`, the inference graph: eval mode, no gradients. With `trainable`, the names of the parameters that
    learn (perhaps none), the joint graph of forward and backward, in the training or eval mode that each part is in.
    Inputs may be tensors of any device, their values are not read unless the module itself does. `values`: whether to run
    on random numbers where shapes alone do not do.

    Raises:
        NetwrightError: the module does not run on these inputs, a trainable parameter does not exist, or this torch
            lacks what a capture needs.
    """
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = None if trainable is None else [name.removeprefix("module.") for name in trainable]
        return capture(module.module, *inputs, keywords=keywords, trainable=inner, values=values)
    if trainable is not None:
        _check_names(module, trainable)
    check_capture()
    errors: list[str] = []
    for attempt in (_fake_values, _real_values) if values else (_fake_values,):

        def once(draw: int = 0, attempt: Callable[[nn.Module], _Values] = attempt) -> tuple[Graph, list[str]]:
            return _run(module, inputs, dict(keywords or {}), trainable, attempt(module), errors, draw)

        try:
            graph, drawn = once()
            if drawn:
                note = note_of_draws(graph, drawn, lambda draw: once(draw)[0])
                graph = replace(graph, notes=(*graph.notes, note))
            return graph
        except TorchInternalsError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
            kind = "" if isinstance(error, NetwrightError) else f"{type(error).__name__}: "
            errors.append(kind + " ".join(str(error).split())[:300])
    told = errors[0] if len(set(errors)) == 1 else f"Without data: {errors[0]} On random numbers: {errors[1]}"
    raise NetwrightError(
        f"{type(module).__name__} does not run on {_describe(inputs, keywords)}. {told} "
        "Check the size and the number of the inputs."
    )


@dataclass(frozen=True)
class _Values:
    """What stands in for parameters and inputs: shapes without data, or random numbers."""

    mode: contextlib.AbstractContextManager[Any]
    source: str
    fake: FakeTensorMode | None = None

    def like(self, tensor: Tensor) -> Tensor:
        """Return the stand-in of a tensor, of the same shape, strides and type, on the CPU."""
        if is_composed(tensor):
            return self.fake.from_tensor(tensor) if self.fake else tensor
        if is_lazy(tensor):
            raise NetwrightError(
                "Some parameters get their shapes at the first call (lazy modules): call the module once."
            )
        if tensor.layout != torch.strided:
            kind = str(tensor.layout).removeprefix("torch.")
            raise NetwrightError(f"A tensor of it is {kind}; only dense tensors can be captured.")
        if self.fake is None and not tensor.is_meta:
            return tensor.detach().clone()
        new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
        if self.fake is None:
            _fill(new)
        return new

    def copy(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor that a module holds as an attribute: it is small, and its values may be looked at."""
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return self.like(tensor)
        with real_tensors():
            return tensor.detach().clone()


def _fake_values(_module: nn.Module) -> _Values:
    fake = fake_tensors()
    return _Values(fake, "shapes", fake)


def _real_values(module: nn.Module) -> _Values:
    needed = sum(
        tensor.nbytes for tensor in (*module.parameters(), *module.buffers()) if tensor.layout == torch.strided
    )
    free = _free_memory()
    if needed > free / 2:
        raise NetwrightError(f"It would need more than {needed / 1e9:.1f} GB of the {free / 1e9:.1f} GB that are free.")
    return _Values(contextlib.nullcontext(), "values")


def _free_memory() -> float:
    """Return the bytes of memory that can be had without swapping; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return math.inf


def _fill(tensor: Tensor) -> None:
    """Fill with random numbers that pass through a deep network without growing or vanishing.

    Vectors become ones, which turns normalization with running statistics into the identity.
    """
    if not tensor.is_floating_point():
        tensor.zero_()
    elif tensor.dim() < 2:
        tensor.fill_(1)
    else:
        tensor.normal_(std=1 / math.sqrt(max(1, math.prod(tensor.shape[1:]))))


def _run(
    module: nn.Module,
    inputs: tuple[Any, ...],
    keywords: dict[str, Any],
    trainable: Collection[str] | None,
    values: _Values,
    errors: list[str],
    draw: int,
) -> tuple[Graph, list[str]]:
    """Return the graph of one run, and the names of the generators of random numbers that could decide what runs.

    `draw`: seed of what the module draws itself; the stand-ins' numbers are the same with all.
    """
    training = trainable is not None
    scripted = isinstance(module, torch.jit.ScriptModule)
    if training and scripted:
        raise NetwrightError("It is compiled by TorchScript and can be captured for inference only.")
    with undisturbed(module, keep_mode=training), _hooked(module) as stack, values.mode, _on_cpu():
        reseed(0)  # what a module draws, and what it does with it, is the same every time
        recorder = Recorder(stack, training=training)
        state = _stand_ins(module, values, trainable or (), themselves=scripted)
        replace_plain_tensors(module, values.copy)
        parameters = dict(module.named_parameters(remove_duplicate=False))
        for name, tensor in state.items():
            for part, role in roles_of_parts(tensor.detach(), "parameter" if name in parameters else "buffer"):
                recorder.register(part, role, name)
        with real_tensors() if values.fake else contextlib.nullcontext():
            for path, name, tensor in packed_weights(module):
                recorder.register_packed(path, name, tensor)
        args, kwargs = tree_map(
            lambda value: values.like(value) if isinstance(value, Tensor) else value, (inputs, keywords)
        )
        given = [part for tensor in tensors_in((args, kwargs)) for part in parts_of(tensor)]
        for number, tensor in enumerate(given):
            recorder.register(tensor, "input", f"input {number}")

        # A compiled module takes no stand-ins: it runs on its own tensors, which the mode turns into shapes.
        step = _Step(module, state, recorder if training else None)
        if draw:
            reseed(draw, module)
        with real_tensors() if values.fake else contextlib.nullcontext():
            draws = Draws(module)
        with contextlib.closing(recorder), recorder:
            if scripted:
                out, gradients = step(*args, **kwargs)
            else:
                lent = {f"module.{name}": tensor for name, tensor in _once(module, state).items()}
                out, gradients = torch.func.functional_call(step, lent, args, kwargs, tie_weights=False)
        with real_tensors() if values.fake else contextlib.nullcontext():
            drawn = draws.names()
        notes = _notes(errors, trainable or (), gradients)
        graph = recorder.graph(
            given, out, source=values.source, saved=tuple(recorder.saved), gradients=gradients, notes=notes
        )
        return graph, drawn


def _notes(errors: Sequence[str], trainable: Collection[str], gradients: Mapping[str, int]) -> list[str]:
    notes = []
    if errors:
        notes.append(
            "the module looks at values, so it ran on random numbers, and only what ran for them is counted "
            f"({errors[0]})"
        )
    without = [name for name in trainable if name not in gradients]
    if without:
        shown = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
        notes.append(
            f"{shown} should learn and get no gradient: no output depends on them in a way that autograd sees "
            "(checkpoint with use_reentrant=True hides parameters where its inputs need no gradient)"
        )
    return notes


def _stand_ins(
    module: nn.Module, values: _Values, trainable: Collection[str], *, themselves: bool
) -> dict[str, Tensor]:
    """Return stand-ins of parameters and buffers by name, the same one for tied tensors; or the tensors themselves."""
    made: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    parameters = module.named_parameters(remove_duplicate=False)
    for name, tensor in (*parameters, *module.named_buffers(remove_duplicate=False)):
        if id(tensor) not in made:
            made[id(tensor)] = tensor if themselves else values.like(tensor)
        state[name] = made[id(tensor)]
    for name in trainable:
        state[name].requires_grad_(True)
    return state


def _once(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name each attribute once: torch does not give back what it replaces under two names, in a module used twice."""
    owners = {name: id(part) for name, part in module.named_modules(remove_duplicate=False)}
    names: dict[tuple[int, str], str] = {}
    for name in state:
        path, _, leaf = name.rpartition(".")
        names.setdefault((owners[path], leaf), name)
    return {name: state[name] for name in names.values()}


class _Step(nn.Module):
    """A module, and of its outputs the backward pass where a recorder is told of it.

    Both in one call, so that a module that runs parts of itself again in the backward pass (activation checkpointing)
    does so with the same stand-ins.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], recorder: Recorder | None):
        super().__init__()
        self.module = module
        self._state, self._recorder = state, recorder

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, int]]:
        """Return the module's output and, by name, where the gradients of its parameters lie."""
        recorder = self._recorder
        if recorder is None:
            return self.module(*args, **kwargs), {}

        def pack(tensor: Tensor) -> Tensor:
            recorder.keep(tensor)
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            out = self.module(*args, **kwargs)
        return out, self._backward(out, recorder)

    def _backward(self, out: Any, recorder: Recorder) -> dict[str, int]:
        """Differentiate the outputs, given gradients of one; return where each parameter's gradient lies."""
        ends = [value for value in tensors_in(out) if value.requires_grad]
        recorder.begin_backward()
        if ends:
            torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])
        return {
            name: recorder.register(tensor.grad, "activation", name)
            for name, tensor in self._state.items()
            if tensor.grad is not None
        }


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    return torch.device("cpu") if torch.get_default_device().type != "cpu" else contextlib.nullcontext()


@contextlib.contextmanager
def _hooked(module: nn.Module) -> Iterator[ModuleStack]:
    stack = ModuleStack(module)
    try:
        yield stack
    finally:
        stack.remove()


def _check_names(module: nn.Module, trainable: Collection[str]) -> None:
    known = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    wrong = [name for name in trainable if name not in known]
    if wrong:
        raise NetwrightError(
            f"{type(module).__name__} has no parameter {wrong[0]!r}. Among its {len(known)} are: {', '.join(sorted(known)[:5])}."
        )


def _describe(inputs: tuple[Any, ...], keywords: Mapping[str, Any] | None) -> str:
    named = [("", value) for value in inputs] + [(f"{name}=", value) for name, value in (keywords or {}).items()]
    return (
        ", ".join(
            name + ("x".join(map(str, value.shape)) if isinstance(value, Tensor) else repr(value))
            for name, value in named
        )
        or "no input"
    )
