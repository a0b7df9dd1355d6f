"""How the weights of a sub-network are cut from those of the largest one.

Leading channels, and the centre of a kernel through its transform matrix: Once-for-all, Cai et al. 2020,
arXiv:1908.09791, Section 3.3 (elastic width, elastic kernel size).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from netwright.core.errors import NetwrightError
from netwright.models.family import CutRule

Cut = Callable[[Tensor], Tensor]


class _Leading(Function):
    """The leading part of every dimension, as one view; its gradient is padded with zeros in one pass."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weight: Tensor, shape: torch.Size) -> Tensor:
        ctx.full = weight.shape  # type: ignore[attr-defined]
        return _narrow(weight, shape)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        padded = grads[0].new_zeros(ctx.full)  # type: ignore[attr-defined]
        _narrow(padded, grads[0].shape).copy_(grads[0])
        return padded, None


def _narrow(tensor: Tensor, shape: Iterable[int]) -> Tensor:
    for dim, size in enumerate(shape):
        if size != tensor.shape[dim]:
            tensor = tensor.narrow(dim, 0, size)
    return tensor


def leading(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return the leading part of a tensor as a view, differentiable."""
    narrowed = [dim for dim, size in enumerate(shape) if size != tensor.shape[dim]]
    if len(narrowed) > 1 and tensor.requires_grad and torch.is_grad_enabled():
        return _Leading.apply(tensor, shape)  # type: ignore[no-any-return]
    return _narrow(tensor, shape)


def plan_cut(
    name: str,
    full: torch.Size,
    part: torch.Size,
    rules: Mapping[str, CutRule],
    steps: list[tuple[int, int]],
    matrices: Mapping[str, Tensor],
) -> Cut | None:
    """Return the function that cuts a tensor of shape `part` from the largest network's; None if it is all of it.

    Raises:
        NetwrightError: no rule of the family names the tensor, and a leading cut or a kernel's centre cannot give it.
    """
    for ending, rule in rules.items():
        if name.endswith(ending):
            return _checked(name, rule, part)
    if full == part:
        return None
    if len(full) != len(part) or any(small > large for small, large in zip(part, full, strict=True)):
        raise _impossible(name, full, part, "it does not fit into it")
    if len(full) != 4 or full[2:] == part[2:]:
        narrowed = [dim for dim, size in enumerate(part) if size != full[dim]]
        if len(narrowed) == 1:
            dim, size = narrowed[0], part[narrowed[0]]
            return lambda tensor: tensor.narrow(dim, 0, size)
        return lambda tensor: leading(tensor, part)
    if part[2] != part[3] or part[2] not in [small for _, small in steps]:
        raise _impossible(name, full, part, "the kernels of the space have no step to this size")
    channels = torch.Size((*part[:2], *full[2:]))
    return lambda tensor: shrink_kernel(name, leading(tensor, channels), part[3], steps, matrices)


def kernel_steps(sizes: Iterable[int], largest: int) -> list[tuple[int, int]]:
    """Return the transforms of a kernel, largest first: 7, 5, 3 gives (7, 5), (5, 3)."""
    falling = sorted((size for size in set(sizes) if size <= largest), reverse=True)
    return list(itertools.pairwise(falling))


def kernel_name(name: str, step: tuple[int, int]) -> str:
    """Return the parameter name of one transform matrix of one weight."""
    return f"{name.replace('.', '/')}:{step[0]}to{step[1]}"


def shrink_kernel(
    name: str, weight_OIKK: Tensor, size: int, steps: list[tuple[int, int]], matrices: Mapping[str, Tensor]
) -> Tensor:
    """Return the centre of a kernel, multiplied by its transform matrix at every step down to `size`."""
    for step in steps:
        if weight_OIKK.shape[-1] == size:
            break
        margin = (step[0] - step[1]) // 2
        centre = weight_OIKK[..., margin : margin + step[1], margin : margin + step[1]]
        flat = functional.linear(centre.reshape(-1, step[1] ** 2), matrices[kernel_name(name, step)])
        weight_OIKK = flat.view(centre.shape)
    return weight_OIKK


def _checked(name: str, rule: CutRule, part: torch.Size) -> Cut:
    def cut(tensor: Tensor) -> Tensor:
        result = rule(tensor, part)
        if result.shape != part:
            raise _impossible(name, tensor.shape, part, f"the family's rule gave {tuple(result.shape)}")
        return result

    return cut


def _impossible(name: str, full: Iterable[int], part: Iterable[int], why: str) -> NetwrightError:
    return NetwrightError(
        f"{name}: {tuple(part)} cannot be cut from the largest network's {tuple(full)}: {why}. Every tensor of a smaller "
        "network must be a leading part of the largest one's, or have a rule of its own: Family(rules={name's end: rule})."
    )
