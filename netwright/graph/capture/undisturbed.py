"""Run a stranger's module and leave it, and torch, as they were found."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.torch_internals import FAKE_TENSOR_LOGGER, tree_iter
from netwright.graph.capture.draws import sources

_CONTAINERS = (dict, list, set)


@contextlib.contextmanager
def undisturbed(module: nn.Module, *, keep_mode: bool) -> Iterator[None]:
    """Put the module into eval mode, unless its mode is to be kept, and take back afterwards whatever changed.

    Taken back are attributes of all its parts, with what was put into lists, dictionaries and sets among them (a cache
    would otherwise keep tensors without data), training flags, hooks, the states of torch's, NumPy's and Python's random
    numbers, the default type, autocast, the fast path of attention, gradient and inference mode.
    """
    parts = list(module.modules())
    modes = [part.training for part in parts]
    attributes = [_attributes(part) for part in parts]
    settings = _settings(module)
    try:
        if not keep_mode:
            with contextlib.suppress(NotImplementedError):  # an exported program has its mode in it
                module.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        logging.getLogger(FAKE_TENSOR_LOGGER).setLevel(
            logging.CRITICAL
        )  # it logs tracebacks of errors that are raised anyway
        with warnings.catch_warnings(), torch.inference_mode(False), torch.set_grad_enabled(keep_mode):
            warnings.simplefilter("ignore")
            yield
    finally:
        for restore in settings:
            restore()
        for part, mode, kept in zip(parts, modes, attributes, strict=True):
            part.training = mode
            _restore(part, kept)


def _settings(module: nn.Module) -> list[Callable[[], object]]:
    """Return functions that set back what a module may set for the whole process, and generators that it holds."""
    generators = [(source, source.state()) for source in sources(module)]
    dtype, fast_path = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    autocast, autocast_dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    log_level = logging.getLogger(FAKE_TENSOR_LOGGER).level
    return [
        lambda: logging.getLogger(FAKE_TENSOR_LOGGER).setLevel(log_level),
        *(lambda source=source, kept=kept: source.restore(kept) for source, kept in generators),
        lambda: torch.set_default_dtype(dtype),
        lambda: torch.backends.mha.set_fastpath_enabled(fast_path),
        lambda: torch.set_autocast_enabled("cpu", autocast),
        lambda: torch.set_autocast_dtype("cpu", autocast_dtype),
    ]


def _attributes(part: nn.Module) -> list[tuple[str, Any, Any]]:
    """Return name, value and, of containers, what they hold, for all attributes of one module."""
    if isinstance(part, torch.jit.ScriptModule):
        return []
    return [
        (name, value, value.copy() if isinstance(value, _CONTAINERS) else None) for name, value in vars(part).items()
    ]


def _restore(part: nn.Module, kept: list[tuple[str, Any, Any]]) -> None:
    if isinstance(part, torch.jit.ScriptModule):
        return
    here = part.__dict__
    for name in here.keys() - {name for name, _, _ in kept}:
        del here[name]
    for name, value, content in kept:
        if here.get(name) is not value:
            here[name] = value
        if content is None or _same(value, content):
            continue
        value.clear()
        if isinstance(value, list):
            value.extend(content)
        else:
            value.update(content)


def _same(value: Any, content: Any) -> bool:
    """Say whether a container holds the same objects; values are not compared, they may be tensors."""
    if len(value) != len(content):
        return False
    if isinstance(value, dict):
        return all(key in value and value[key] is part for key, part in content.items())
    return isinstance(value, set) or all(new is old for new, old in zip(value, content, strict=True))


def replace_plain_tensors(module: nn.Module, stand_in: Callable[[Tensor], Tensor]) -> None:
    """Put stand-ins in the place of tensors that a module holds as plain attributes; `undisturbed` puts them back."""
    for part in module.modules():
        for name, value in [] if isinstance(part, torch.jit.ScriptModule) else list(vars(part).items()):
            if isinstance(value, Tensor):
                vars(part)[name] = stand_in(value)  # pyright: ignore[reportIndexIssue]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of any nesting of lists, tuples, dictionaries and dataclasses."""
    for part in tree_iter(value):
        if isinstance(part, Tensor):
            yield part
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            for one in dataclasses.fields(part):
                yield from tensors_in(getattr(part, one.name, None))
        elif isinstance(part, Mapping):
            yield from tensors_in(list(part.values()))
