"""Which parameters learn: what a mode of training means for a module."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.core.errors import NetwrightError

MODES = ("full", "last", "bias", "norm+last", "none")
LORA = "lora"
RANK = 8


def trainable_names(module: nn.Module, mode: str) -> tuple[str, ...]:
    """Return the names of the parameters that learn in a mode, each shared parameter once.

    full: all. last: the classifier. bias: every bias and the classifier, as in TinyTL (Cai et al. 2020,
    arXiv:2007.11622). norm+last: the affine parameters of normalization and the classifier. none: nothing. Anything
    else is a pattern of names, or several with commas: "blocks.6.*,classifier.*".

    Raises:
        NetwrightError: no such mode, and no parameter matches it as a pattern.
    """
    names = [name for name, _ in module.named_parameters()]
    if mode == LORA:
        raise NetwrightError("lora trains parameters that the module does not have yet: `learner` returns both.")
    if mode == "full":
        return tuple(names)
    if mode == "none":
        return ()
    if mode == "last":
        return _classifier(module)
    if mode == "bias":
        last = set(_classifier(module))
        return tuple(name for name in names if name.rpartition(".")[2] == "bias" or name in last)
    if mode == "norm+last":
        chosen = set(_classifier(module)) | set(_norms(module))
        return tuple(name for name in names if name in chosen)
    patterns = mode.split(",")
    matching = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    if not matching:
        near = difflib.get_close_matches(mode, (*MODES, LORA), n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise NetwrightError(
            f"{mode!r} is no mode of training, and no parameter of {type(module).__name__} matches it.{hint} "
            f"Allowed: {', '.join((*MODES, LORA))}, or a pattern of names; among its {len(names)} are "
            f"{', '.join((*names[:3], *names[-2:]))}."
        )
    return matching


def learner(module: nn.Module, mode: str, *, rank: int = RANK) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module to capture for a mode, and its parameters that learn.

    It is the module itself, except for "lora": a copy on the meta device whose linear layers and dense convolutions
    have low-rank adapters; these learn, and the classifier does.

    Raises:
        NetwrightError: as `trainable_names`; or the module has nothing that takes an adapter.
    """
    if mode != LORA:
        return module, trainable_names(module, mode)
    last = _classifier(module)
    owners = {name.rpartition(".")[0] for name in last}
    return with_adapters(module, rank, besides=owners), (*_adapters_of(module, owners), *last)


class _LoraLinear(nn.Linear):
    """y = W x + B A x, Hu et al. 2021, arXiv:2106.09685, without the constant factor."""

    lora_a: Tensor
    lora_b: Tensor

    def forward(self, input: Tensor) -> Tensor:
        low = F.linear(input, self.lora_a)
        return super().forward(input) + F.linear(low, self.lora_b)


class _LoraConv2d(nn.Conv2d):
    """The same for a convolution: A has its kernel and stride, B is pointwise."""

    lora_a: Tensor
    lora_b: Tensor

    def forward(self, input: Tensor) -> Tensor:
        low = self._conv_forward(input, self.lora_a, None)
        return super().forward(input) + F.conv2d(low, self.lora_b)


def with_adapters(module: nn.Module, rank: int = RANK, *, besides: Iterable[str] = ()) -> nn.Module:
    """Return a copy on the meta device with adapters of a rank, except in the named submodules.

    Raises:
        NetwrightError: there is no linear layer or ungrouped convolution, or the rank is below 1.
    """
    if rank < 1:
        raise NetwrightError(f"The rank of the adapters is {rank}; it is 1 or more, {RANK} by default.")
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    memo: dict[int, object] = {}
    for tensor in tensors:
        empty = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    made = copy.deepcopy(module, memo)
    excluded = set(besides)
    count = 0
    for _, part in _adaptable(made, excluded):
        kind = part.weight.dtype
        if isinstance(part, nn.Conv2d):
            a_shape = (rank, part.in_channels, *part.kernel_size)
            b_shape = (part.out_channels, rank, 1, 1)
            part.__class__ = _LoraConv2d
        else:
            a_shape, b_shape = (rank, part.in_features), (part.out_features, rank)
            part.__class__ = _LoraLinear
        part.register_parameter("lora_a", nn.Parameter(torch.empty(a_shape, dtype=kind, device="meta")))
        part.register_parameter("lora_b", nn.Parameter(torch.empty(b_shape, dtype=kind, device="meta")))
        count += 1
    if not count:
        raise NetwrightError(
            f"{type(module).__name__} has no linear layer or ungrouped convolution that an adapter fits. "
            f"Train it otherwise: {', '.join(MODES)}, or a pattern of names."
        )
    return made


def _adaptable(module: nn.Module, excluded: set[str]) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Yield plain linear layers and convolutions: a subclass may use its weight in ways of its own."""
    for name, part in module.named_modules():
        if name in excluded:
            continue
        if type(part) is nn.Linear or (type(part) is nn.Conv2d and part.groups == 1):
            yield name, part


def _adapters_of(module: nn.Module, excluded: set[str]) -> tuple[str, ...]:
    return tuple(f"{name}.{part}" for name, _ in _adaptable(module, excluded) for part in ("lora_a", "lora_b"))


def _classifier(module: nn.Module) -> tuple[str, ...]:
    """Return the parameters of the part that timm calls the classifier; without one, of the last layer that has any."""
    names = {id(tensor): name for name, tensor in module.named_parameters()}
    ask = getattr(module, "get_classifier", None)
    if callable(ask):
        answer = ask()
        heads = answer if isinstance(answer, (tuple, list)) else (answer,)
        found = [tensor for head in heads if isinstance(head, nn.Module) for tensor in head.parameters()]
        if found:
            return tuple(names[id(tensor)] for tensor in found)
    last: tuple[str, ...] = ()
    for part in module.modules():
        own = dict(part.named_parameters(recurse=False))
        if any(tensor.ndim > 1 for tensor in own.values()):
            last = tuple(names[id(tensor)] for tensor in own.values() if id(tensor) in names)
    return last


def _norms(module: nn.Module) -> Iterator[str]:
    """Yield the parameters of normalization layers, which torch and others give names with Norm."""
    for name, part in module.named_modules():
        if any("Norm" in kind.__name__ for kind in type(part).__mro__):
            for own, _ in part.named_parameters(prefix=name, recurse=False):
                yield own
