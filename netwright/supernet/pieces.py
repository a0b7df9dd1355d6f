"""Blocks without weights: built once for every (name, block), lent weights for the length of a call.

A network of a space differs from another in few blocks, so there are few of these, and no network is built twice.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.block import Block
from netwright.supernet.cut import Cut

_PLAIN = (bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device, type(None))


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

    def __call__(self, x: Tensor) -> Tensor:
        """Run the block with the largest network's weights, cut to this block's shapes."""
        try:
            for slot in self.slots:
                slot.target[slot.key] = slot.weight()
            return self.module(x)
        finally:
            for slot in self.slots:
                slot.target[slot.key] = slot.empty

    def copy(self) -> nn.Module:
        """Return the block as a module of its own, with copies of the weights."""
        tensors: dict[int, Tensor] = {}
        for slot in self.slots:
            if id(slot.empty) not in tensors:
                tensor = slot.weight().detach().clone()
                tensors[id(slot.empty)] = nn.Parameter(tensor) if isinstance(slot.empty, nn.Parameter) else tensor
        return _with_tensors(self.module, tensors, {})


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


def _with_tensors(module: nn.Module, tensors: dict[int, Tensor], done: dict[int, nn.Module]) -> nn.Module:
    """Copy a module as copy.deepcopy does, several times faster, with other tensors put in by the id of the old ones."""
    if id(module) in done:
        return done[id(module)]
    new = module.__class__.__new__(module.__class__)
    done[id(module)] = new
    for name, value in vars(module).items():
        if name in ("_parameters", "_buffers"):
            value = {key: tensors.get(id(tensor), tensor) for key, tensor in value.items()}
        elif name == "_modules":
            value = {key: child and _with_tensors(child, tensors, done) for key, child in value.items()}
        elif isinstance(value, dict | list | set) and not value:
            value = value.copy()
        elif not isinstance(value, _PLAIN) and not (isinstance(value, tuple) and all(map(_is_plain, value))):
            value = copy.deepcopy(value)
        new.__dict__[name] = value
    return new


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)
