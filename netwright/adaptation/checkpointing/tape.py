"""A captured forward pass that can be run again, operation by operation, with real tensors and under autograd."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import schema_of, tree_iter
from netwright.graph.graph import Graph, Op, Ref

Values = dict[int, Tensor]


class _Hardtanh(torch.autograd.Function):
    """ReLU6 and the like, saving the result; torch saves the input, of which it makes a clone when in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, in_place: bool) -> Tensor:
        out = torch.ops.aten.hardtanh_(x, low, high) if in_place else torch.ops.aten.hardtanh(x, low, high)
        if in_place:
            ctx.mark_dirty(x)
        ctx.save_for_backward(out)
        ctx.limits = low, high
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], out, *ctx.limits), None, None, None


@dataclass(frozen=True, slots=True)
class TapeStep:
    """One operation, ready to be called.

    `call` leaves what autograd needs and updates buffers; `fresh` computes the same values a second time and does not,
    None where there is nothing but buffers to update. `blanks`: tensors that it fills and that nothing made before, with
    shape and type.
    """

    op: Op
    call: Callable[[Values], Any]
    fresh: Callable[[Values], Any] | None
    random: bool
    blanks: tuple[tuple[int, tuple[int, ...], torch.dtype], ...] = ()

    def run(self, values: Values) -> None:
        """Run it for the first time."""
        self._fill(values)
        self._bind(self.call(values), values)

    def run_again(self, values: Values) -> None:
        """Compute the same values once more."""
        if self.fresh is not None:
            self._fill(values)
            self._bind(self.fresh(values), values)

    def _fill(self, values: Values) -> None:
        for index, shape, dtype in self.blanks:
            device = next(iter(values.values())).device
            values[index] = torch.empty(shape, dtype=dtype, device=device)

    def _bind(self, out: Any, values: Values) -> None:
        if isinstance(out, Tensor):
            values[self.op.outputs[0]] = out
        else:
            values.update(
                zip(self.op.outputs, (part for part in tree_iter(out) if isinstance(part, Tensor)), strict=True)
            )


class Tape:
    """The steps of a forward-only graph, and how its parameters and inputs are found."""

    def __init__(self, graph: Graph):
        self.graph = graph = _without_inplace_views(graph)
        self.own: dict[int, str] = {}
        for index, tensor in enumerate(graph.tensors):
            storage = graph.storages[tensor.storage]
            if storage.role in ("parameter", "buffer") and storage.name not in self.own.values():
                self.own[index] = storage.name
        _refuse_changed(graph)
        made = set(self.own) | set(graph.inputs)
        filled = {graph.tensors[index].storage for index in made}
        steps = []
        for place, op in enumerate(graph.ops):
            missing = [index for index in op.inputs if index not in made]
            alone = op.kind.endswith("_") and graph.traits(op).saves == "input" and _alone(graph, place)
            steps.append(_step(graph, op, missing, filled, alone))
            made.update((*missing, *op.outputs))
            filled.update(graph.tensors[index].storage for index in (*op.inputs, *op.outputs))
        self.steps = tuple(steps)
        self.writes: dict[int, list[int]] = {}
        for place, op in enumerate(graph.ops):
            for number in op.writes:
                self.writes.setdefault(number, []).append(place)
        self.base = frozenset((*self.own, *graph.inputs))
        self._storage = [tensor.storage for tensor in graph.tensors]

    def version(self, index: int, place: int) -> int:
        """Return how often a tensor's memory has been written to in place before a step."""
        return bisect_left(self.writes.get(self._storage[index], []), place)

    def read_before(self, start: int, stop: int) -> tuple[int, ...]:
        """Return the tensors that steps read which steps before them made."""
        made: set[int] = set(self.base)
        found: dict[int, None] = {}
        for step in self.steps[start:stop]:
            made.update(index for index, _, _ in step.blanks)
            found.update((index, None) for index in step.op.inputs if index not in made)
            made.update(step.op.outputs)
        return tuple(found)

    def last_uses(self, start: int, stop: int) -> dict[int, tuple[int, ...]]:
        """Return, for each step of a range, the tensors that no later step of the range reads."""
        last: dict[int, int] = {}
        for place in range(start, stop):
            op = self.graph.ops[place]
            last.update((index, place) for index in (*op.inputs, *op.outputs) if index not in self.base)
        drops: dict[int, list[int]] = {}
        for index, place in last.items():
            drops.setdefault(place, []).append(index)
        return {place: tuple(found) for place, found in drops.items()}

    def state(self, module: nn.Module, inputs: Sequence[Tensor]) -> Values:
        """Return the values that are there before the first step: parameters, buffers and inputs.

        Raises:
            NetwrightError: the inputs are not of the captured shapes.
        """
        shapes = [self.graph.tensors[index].shape for index in self.graph.inputs]
        if [tuple(tensor.shape) for tensor in inputs] != shapes:
            raise NetwrightError(f"This plan is for inputs of the shapes {shapes}. Make one for other shapes.")
        values: Values = {index: _find(module, name) for index, name in self.own.items()}
        values.update(zip(self.graph.inputs, inputs, strict=True))
        return values


def _find(module: nn.Module, name: str) -> Tensor:
    *parents, leaf = name.split(".")
    for part in parents:
        module = getattr(module, part)
    return getattr(module, leaf)


def _without_inplace_views(graph: Graph) -> Graph:
    """Return the graph with operations that change a tensor's own shape or strides as views of it."""
    latest: dict[int, int] = {}
    ops = []
    for op in graph.ops:
        packet = getattr(torch.ops.aten, op.kind.rpartition(".")[2], None)
        function = getattr(packet, op.overload or "default", None)
        if function is not None and torch.Tag.inplace_view in function.tags:
            source = latest.get(graph.tensors[op.inputs[0]].storage, op.inputs[0])
            arguments = dict(op.arguments) | {"self": Ref(source)}
            inputs = (source, *op.inputs[1:])
            op = replace(op, kind=op.kind.removesuffix("_"), inputs=inputs, arguments=arguments, view=True, writes=())
        latest.update((graph.tensors[index].storage, index) for index in op.outputs)
        ops.append(op)
    return replace(graph, ops=tuple(ops))


def _refuse_changed(graph: Graph) -> None:
    """Refuse what would not be the same a second time: inputs that are changed, buffers that are changed and read."""
    changed = {number for op in graph.ops for number in op.writes}
    for op in graph.ops:
        for number in {graph.tensors[index].storage for index in op.inputs} & changed:
            storage = graph.storages[number]
            updates = all(graph.storages[written].role == "buffer" for written in op.writes) and op.writes
            if storage.role in ("input", "parameter") or (storage.role == "buffer" and not updates):
                raise NetwrightError(
                    f"{op.kind} at {op.path or 'the root'} reads {storage.name}, which the forward pass changes in place, "
                    "so it cannot be run again. Change a copy instead."
                )


def _alone(graph: Graph, place: int) -> bool:
    """Tell whether no other view of what an operation changes in place is read afterwards."""
    op = graph.ops[place]
    before = {index for earlier in graph.ops[:place] for index in earlier.outputs} - set(op.outputs)
    after = {index for later in graph.ops[place + 1 :] for index in later.inputs}
    return not any(graph.tensors[index].storage in op.writes for index in before & after)


def _step(graph: Graph, op: Op, missing: Sequence[int], filled: Collection[int], alone: bool) -> TapeStep:
    blanks = []
    for index in missing:
        tensor = graph.tensors[index]
        fills = tensor.storage in op.writes and tensor.storage not in filled
        if graph.storages[tensor.storage].role != "activation" or not fills:
            raise NetwrightError(
                f"The network reads a tensor of shape {tensor.shape} at {op.path or 'the root'} that is neither a "
                "parameter, a buffer nor an input, so its forward pass cannot be run again. Register it as a buffer."
            )
        blanks.append((index, tensor.shape, getattr(torch, tensor.dtype)))
    name = op.kind.rpartition(".")[2]
    packet = getattr(torch.ops.aten, name, None) if op.kind.startswith("aten.") else None
    if packet is None:
        raise NetwrightError(
            f"{op.kind} at {op.path or 'the root'} is not one of torch's own operations: no plan for it."
        )
    function = getattr(packet, op.overload or "default")
    arguments = dict(op.arguments)
    if alone:
        function = getattr(getattr(torch.ops.aten, name[:-1]), op.overload or "default")
    call = _caller(function, arguments)
    only_buffers = bool(op.writes) and all(graph.storages[number].role == "buffer" for number in op.writes)
    fresh = None if only_buffers else call
    if op.kind == "aten.native_batch_norm" and arguments["training"]:
        fresh = _caller(function, arguments | {"running_mean": None, "running_var": None})
    if op.kind in ("aten.hardtanh", "aten.hardtanh_"):
        call = _hardtanh(arguments, in_place=op.kind.endswith("_"))
    return TapeStep(op, call, fresh, torch.Tag.nondeterministic_seeded in function.tags, tuple(blanks))


def _hardtanh(arguments: Mapping[str, Any], *, in_place: bool) -> Callable[[Values], Any]:
    source, low, high = arguments["self"].tensor, arguments.get("min_val", -1), arguments.get("max_val", 1)
    return lambda values: _Hardtanh.apply(values[source], low, high, in_place)


def _caller(function: Any, arguments: Mapping[str, Any]) -> Callable[[Values], Any]:
    """Return a function that looks the arguments up among the values and calls."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    in_order = True
    for argument in schema_of(function).arguments:
        in_order = in_order and argument.name in arguments and not argument.kwarg_only
        if in_order:
            positional.append(_decoded(arguments[argument.name]))
        elif argument.name in arguments:
            named[argument.name] = _decoded(arguments[argument.name])
    spots = [place for place, value in enumerate(positional) if _refers(value)]
    keys = [name for name, value in named.items() if _refers(value)]

    def run(values: Values) -> Any:
        filled = positional.copy()
        for place in spots:
            filled[place] = _resolved(filled[place], values)
        return function(*filled, **named | {name: _resolved(named[name], values) for name in keys})

    return run


def _refers(value: Any) -> bool:
    return isinstance(value, Ref) or (isinstance(value, (list, tuple)) and any(map(_refers, value)))


def _resolved(value: Any, values: Values) -> Any:
    if isinstance(value, Ref):
        return values[value.tensor]
    if isinstance(value, (list, tuple)):
        return [_resolved(part, values) for part in value]
    return value


def _decoded(value: Any) -> Any:
    """Turn torch's types, layouts and memory formats, which a graph holds by name, back into what they are."""
    if isinstance(value, str) and value.startswith("torch."):
        return getattr(torch, value.removeprefix("torch."))
    if isinstance(value, (list, tuple)):
        return [_decoded(part) for part in value]
    return value
