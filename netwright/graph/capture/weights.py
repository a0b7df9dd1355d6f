"""Weights that are no plain parameters: those that torch.ao packs into objects of its own, and those composed of several tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from netwright.core.torch_internals import is_composed, parts_of
from netwright.graph.dtypes import BITS
from netwright.graph.graph import Role


def packed_weights(module: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Yield module path, name and tensor of the weights that torch.ao's quantized modules keep packed.

    They are not among the parameters: a module unpacks them when it is asked by a method.
    """
    for path, part in module.named_modules():
        if not type(part).__module__.startswith("torch.ao.nn."):
            continue
        for name in ("weight", "bias"):
            for place, tensor in enumerate(_unpacked(part, name)):
                yield path, f"{path}.{name}{place or ''}", tensor.detach()


def _unpacked(part: nn.Module, name: str) -> list[Tensor]:
    """Return the tensors that `weight()` gives, or `get_weight()` of recurrent layers by name."""
    for method in (getattr(part, name, None), getattr(part, f"get_{name}", None)):
        if callable(method) and not isinstance(method, Tensor | nn.Module):
            found: Any = method()
            values = found.values() if isinstance(found, dict) else [found]
            return [value for value in values if isinstance(value, Tensor)]
    return []


def roles_of_parts(tensor: Tensor, role: Role) -> Iterator[tuple[Tensor, Role]]:
    """Yield the parts of a tensor with what each is: of a quantized weight, scales and zero points are no parameters.

    A weight is quantized where its largest part is of a narrower type than the weight claims to be.
    """
    parts = parts_of(tensor)
    largest = max(parts, key=lambda part: part.numel(), default=tensor)
    narrow = is_composed(tensor) and _bits(largest) < _bits(tensor)
    for part in parts:
        yield part, "buffer" if narrow and role == "parameter" and part is not largest else role


def _bits(tensor: Tensor) -> int:
    return BITS.get(str(tensor.dtype).removeprefix("torch."), 0)
