"""Train a network by a checkpointing plan: what the plan does not keep is computed again when the backward pass asks.

The forward pass is captured once and then run operation by operation, so a plan may cut anywhere, also inside a block.
Within a part that is not kept, autograd is given handles instead of tensors. The first handle that it unpacks runs that
part once more, without gradients, from the tensors at its start; buffers are not updated again, and random operations
draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from netwright.adaptation.checkpointing.segments import Segment, may_start
from netwright.adaptation.checkpointing.tape import Tape, Values
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import storage_address

Key = tuple[int, int]  # a tensor of the graph, and how often it was written to in place


class _Region:
    """A part that is computed again: what it reads and when its tensors are read last."""

    def __init__(self, tape: Tape, part: Segment):
        if not may_start(tape.graph, part.start):
            raise NetwrightError(
                f"This plan runs operations {part.start} to {part.stop} again, but what they start from is changed in "
                "place later. Let it start elsewhere: `netwright.adaptation.checkpointing.segments.may_start` tells where it may."
            )
        self.tape, self.part = tape, part
        self.needs = tape.read_before(part.start, part.stop)
        self.drops = tape.last_uses(part.start, part.stop)
        self.inner = tuple(_Region(tape, sub) for sub in part.parts if not sub.kept)
        self.random = any(step.random for step in tape.steps[part.start : part.stop])


class _SegmentRun:
    """A region during one step of training: what it starts from, what is wanted of it, what has been computed."""

    def __init__(self, region: _Region, base: Values, parent: _SegmentRun | None = None):
        self.region, self.part, self.tape = region, region.part, region.tape
        self.base, self.parent = base, parent
        self.children = {inner.part.start: _SegmentRun(inner, base, self) for inner in region.inner}
        self.inputs: Values | None = None
        self.wanted: dict[Key, int] = {}
        self.cache: dict[Key, Tensor] = {}
        self.random_state: Tensor | None = None

    def leaf(self, place: int) -> _SegmentRun:
        """Return the innermost segment that a step belongs to."""
        for child in self.children.values():
            if child.part.start <= place < child.part.stop:
                return child.leaf(place)
        return self

    def hold(self, values: Values) -> None:
        """Keep what the segment starts from."""
        self.inputs = {index: values[index].detach() for index in self.region.needs}
        if self.region.random:
            self.random_state = torch.random.get_rng_state()

    def fetch(self, key: Key) -> Tensor:
        """Return a value that autograd asks for, computing the segment again if it has not been."""
        if key not in self.cache:
            self.compute()
        value = self.cache[key]
        self.wanted[key] -= 1
        if not self.wanted[key]:
            del self.cache[key], self.wanted[key]
        return value

    def compute(self) -> None:
        """Run the segment again: its kept parts leave what is wanted, each other part what it starts from."""
        if self.inputs is None and self.parent is not None:
            self.parent.compute()
        if self.inputs is None:
            raise NetwrightError("The backward pass ran twice: run the forward pass again before it.")
        values, self.inputs = self.base | self.inputs, None
        start = self.part.start
        missing = set(self.wanted)
        waiting = {place for place, child in self.children.items() if child.is_wanted()}
        for index in self.region.needs:
            self._keep(index, start, values, missing)
        with torch.no_grad(), torch.random.fork_rng(devices=(), enabled=self.region.random):
            if self.random_state is not None:
                torch.random.set_rng_state(self.random_state)
            for place in range(start, self.part.stop):
                if place in waiting:
                    self.children[place].hold(values)
                    waiting.remove(place)
                if not missing and not waiting:
                    return
                step = self.tape.steps[place]
                step.run_again(values)
                for index in step.op.outputs if step.fresh is not None else ():
                    self._keep(index, place + 1, values, missing)
                for index in self.region.drops.get(place, ()):
                    values.pop(index, None)

    def _keep(self, index: int, place: int, values: Values, missing: set[Key]) -> None:
        key = index, self.tape.version(index, place)
        if key in missing:
            self.cache[key] = values[index]
            missing.remove(key)

    def is_wanted(self) -> bool:
        """Tell whether autograd still holds handles of this segment or of one inside."""
        return bool(self.wanted) or any(child.is_wanted() for child in self.children.values())


class _Handle:
    """What autograd holds instead of a tensor."""

    __slots__ = ("key", "segment", "tensor")

    def __init__(self, segment: _SegmentRun, tensor: Tensor):
        self.segment = segment
        self.tensor: Tensor | None = tensor
        self.key: Key | None = None

    def resolve(self, known: dict[Any, Key]) -> None:
        """Let the tensor go if it is one of those that can be computed again."""
        assert self.tensor is not None
        self.key = known.get(_identity(self.tensor))
        if self.key is not None:
            self.tensor = None
            self.segment.wanted[self.key] = self.segment.wanted.get(self.key, 0) + 1

    def unpack(self) -> Tensor:
        """Return the tensor, or compute it again."""
        if self.tensor is not None:
            return self.tensor
        assert self.key is not None
        return self.segment.fetch(self.key)


class _Mark(nn.Module):
    """Runs a function; its place among the modules tells a capture which operations were run by it."""

    def forward(self, run: Callable[[], None]) -> None:
        run()


class Checkpointed(nn.Module):
    """A network of fixed input shapes that trains by a plan; parameters and buffers are those of the module.

    Outputs are one tensor, or a tuple in the order in which the module nests them. Gradients are those of the module,
    exactly: the same operations run on the same values. `marks`: steps at which a capture shall tell operations apart,
    for planning; everything is kept then.

    Raises:
        NetwrightError: the plan cannot be carried out.
    """

    def __init__(self, module: nn.Module, tape: Tape, plan: Sequence[Segment] = (), *, marks: Sequence[int] = ()):
        super().__init__()
        self.module = module
        self._tape = tape
        self._plan = tuple(plan) or (Segment(0, len(tape.steps)),)
        self._ends = (*marks[1:], len(tape.steps))
        self.stages = nn.ModuleList(_Mark() for _ in marks)
        self._regions = {part.start: _Region(tape, part) for part in self._plan if not part.kept}
        self._drops = tape.last_uses(0, len(tape.steps))
        self._outputs = set(tape.graph.outputs)

    def forward(self, *inputs: Tensor) -> Any:
        values = self._tape.state(self.module, inputs)
        base = dict(values)
        own = {_memory(tensor) for tensor in base.values()}
        start = 0
        for mark, stop in zip(self.stages, self._ends, strict=False):
            mark(lambda start=start, stop=stop: self._run(values, start, stop))
            start = stop
        if not self.stages:
            for part in self._plan:
                if part.kept:
                    self._run(values, part.start, part.stop)
                else:
                    self._run_lean(values, own, _SegmentRun(self._regions[part.start], base))
        found = tuple(values[index] for index in self._tape.graph.outputs)
        return found[0] if len(found) == 1 else found

    def _run(self, values: Values, start: int, stop: int) -> None:
        for place in range(start, stop):
            self._tape.steps[place].run(values)
            self._forget(values, place)

    def _run_lean(self, values: Values, own: set[int], segment: _SegmentRun) -> None:
        """Run a part of which autograd gets handles."""
        segment.hold(values)
        handles: list[_Handle] = []
        leaf = segment

        def pack(tensor: Tensor) -> Any:
            if _memory(tensor) in own:
                return tensor
            handles.append(_Handle(leaf, tensor))
            return handles[-1]

        with saved_tensors_hooks(pack, lambda held: held if isinstance(held, Tensor) else held.unpack()):
            for place in range(segment.part.start, segment.part.stop):
                step, leaf = self._tape.steps[place], segment.leaf(place)
                known = {
                    _identity(values[index]): (index, self._tape.version(index, place))
                    for index in step.op.inputs
                    if index in values
                }
                step.run(values)
                known |= {
                    _identity(values[index]): (index, self._tape.version(index, place + 1)) for index in step.op.outputs
                }
                for handle in handles:
                    handle.resolve(known)
                handles.clear()
                self._forget(values, place)

    def _forget(self, values: Values, place: int) -> None:
        for index in self._drops.get(place, ()):
            if index not in self._outputs:
                values.pop(index, None)


def _memory(tensor: Tensor) -> int:
    return storage_address(tensor)


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    return _memory(tensor), tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
