"""Nested state (tensors, numbers, texts) in one safetensors file: no pickle, sizes checked by the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.core.files import atomic_path

if TYPE_CHECKING:
    import torch

_TENSOR = "__tensor__"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a nested dict/list of tensors and JSON values atomically as one safetensors file.

    Raises:
        NetwrightError: the file cannot be written; what it held before is kept.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    skeleton = _split(state, "", tensors)
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"state": json.dumps(skeleton)})
        except SafetensorError as error:  # how a full disk surfaces
            raise OSError(str(error)) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        NetwrightError: missing, cut off, or not written by netwright.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        state = _join(skeleton, tensors)
    except FileNotFoundError as error:
        raise NetwrightError(f"{path} does not exist.") from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise NetwrightError(f"{path} is damaged or was not written by netwright: {error}") from error
    if not isinstance(state, dict):
        raise NetwrightError(f"{path} was not written by netwright: its state is not a dict.")
    return state


def _split(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {str(key): _split(item, f"{name}/{key}" if name else str(key), tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_split(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _join(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    return value
