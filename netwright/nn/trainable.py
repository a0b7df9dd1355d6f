"""Which parameters learn: what a mode of training means for a module."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.nn.lora import RANK, adapters_of, with_adapters

MODES = ("full", "last", "bias", "norm+last", "none")
LORA = "lora"


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
    return with_adapters(module, rank, besides=owners), (*adapters_of(module, owners), *last)


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
