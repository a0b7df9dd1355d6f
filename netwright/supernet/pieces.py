"""Blocks without weights: built once for every (name, block), lent weights for the length of a call.

A network of a space differs from another in few blocks, so there are few of these, and no network is built twice.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.block import Block
from netwright.supernet.cut import Cut

_PLAIN = (bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device, type(None))
_MODULE_BYTES, _SLOT_BYTES = 3000, 1000
_TENSORS_AND_CHILDREN = ("_parameters", "_buffers", "_modules")


class Slot:
    """One parameter or buffer of a piece: where it is, where its source is, and how it is cut from there (None: whole)."""

    __slots__ = ("cut", "empty", "key", "name", "source", "target")

    def __init__(self, name: str, key: str, target: dict[str, Any], source: dict[str, Any], cut: Cut | None):
        self.name, self.key, self.target, self.source, self.cut = name, key, target, source, cut
        self.empty = target[key]

    def weight(self) -> Tensor:
        """Return the tensor as it is now, cut as a view: gradients flow back, statistics are updated in place."""
        tensor = self.source[self.key]
        return tensor if self.cut is None else self.cut(tensor)


class Piece:
    """A block's module on the meta device, with a slot for each of its tensors."""

    def __init__(self, module: nn.Module, slots: list[Slot]):
        self.module = module
        self.slots = slots
        self.copier: _Copier | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the block with the largest network's weights, cut to this block's shapes."""
        try:
            for slot in self.slots:
                slot.target[slot.key] = slot.weight()
            return self.module(*inputs)
        finally:
            for slot in self.slots:
                slot.target[slot.key] = slot.empty

    def bytes(self) -> int:
        """Return about how many bytes of memory the piece takes: objects, for its tensors have no data."""
        return _MODULE_BYTES * sum(1 for _ in self.module.modules()) + _SLOT_BYTES * len(self.slots)

    def copy(self) -> nn.Module:
        """Return the block as a module of its own, with copies of the weights."""
        tensors: dict[int, Tensor] = {}
        for slot in self.slots:
            if id(slot.empty) not in tensors:
                tensor = slot.weight().detach().clone()
                tensors[id(slot.empty)] = nn.Parameter(tensor) if isinstance(slot.empty, nn.Parameter) else tensor
        if self.copier is None:
            self.copier = _Copier(self.module, {})
        done: dict[int, Any] = {}
        later: list[tuple[dict[str, Any], str]] = []
        new = self.copier.copy(tensors, done, later)
        memo = done | tensors
        for state, name in later:  # at last, so that what refers to modules refers to the new ones
            state[name] = copy.deepcopy(state[name], memo)
        return new


def build_piece(block: Block) -> nn.Module:
    """Build a block on the meta device.

    Raises:
        NetwrightError: its `build` needs the values of tensors, which there are none of.
    """
    try:
        with torch.device("meta"):
            return block.build()
    except (NotImplementedError, RuntimeError) as error:
        raise NetwrightError(
            f"{block} cannot be built without weights: {error}. A block's build() must only create layers; "
            "do what needs values in forward(), or take tables from numpy."
        ) from error


class _Copier:
    """Copies one module as copy.deepcopy does, many times faster, with other tensors put in by the id of the old ones."""

    def __init__(self, module: nn.Module, done: dict[int, _Copier]):
        done[id(module)] = self
        self.module = module
        self.children = {
            name: child if child is None else done.get(id(child)) or _Copier(child, done)
            for name, child in module._modules.items()
        }
        values = {name: value for name, value in vars(module).items() if name not in _TENSORS_AND_CHILDREN}
        self.empty = [
            (name, type(value))
            for name, value in values.items()
            if type(value) in (dict, list, set, OrderedDict) and not value
        ]
        plain = {name for name, value in values.items() if _is_plain(value)} | {name for name, _ in self.empty}
        self.deep = [name for name in values if name not in plain]

    def copy(
        self, tensors: dict[int, Tensor], done: dict[int, Any], later: list[tuple[dict[str, Any], str]]
    ) -> nn.Module:
        """Return the copy; the same one for a module that `done` has already. What is not plain is left for `later`."""
        if id(self.module) in done:
            return done[id(self.module)]
        new = self.module.__class__.__new__(self.module.__class__)
        done[id(self.module)] = new
        state = new.__dict__
        state.update(self.module.__dict__)
        for name, empty in self.empty:
            state[name] = empty()
        later += [(state, name) for name in self.deep]
        state["_parameters"] = {key: tensors.get(id(old), old) for key, old in self.module._parameters.items()}
        state["_buffers"] = {key: tensors.get(id(old), old) for key, old in self.module._buffers.items()}
        state["_modules"] = {key: child and child.copy(tensors, done, later) for key, child in self.children.items()}
        return new


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))
