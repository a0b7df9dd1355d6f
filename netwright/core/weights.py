"""Tensors from files of weights as people have them: .safetensors, .pth, .pt, .bin, .npz, .onnx.

Nothing in a file is executed: pickles are read with torch's `weights_only`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training scripts put the weights
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")  # what wrappers put before every name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without the prefixes that all names share.

    Raises:
        NetwrightError: no such file, another kind of file, a damaged one, or one without tensors.
    """
    if not path.is_file():
        raise NetwrightError(f"There is no file {path}. Weights are read from {', '.join(_READERS)}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise NetwrightError(f"{path} does not end in one of {', '.join(_READERS)}.")
    try:
        content = reader(path)
    except Exception as error:  # every format's library has errors of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NetwrightError(f"{path} cannot be read as weights: {lines[0][:200]}") from error
    found = _tensors(content)
    if not found:
        raise NetwrightError(f"{path} holds no tensors by name.")
    return without_prefixes(found)


def without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under names without the prefixes of wrappers that all of them share, as often as they do."""
    names = list(tensors)
    shared = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), None)
    if shared is None:
        return dict(tensors)
    return without_prefixes({name.removeprefix(shared): tensor for name, tensor in tensors.items()})


def _tensors(content: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            return _tensors(content[wrapper])
    if not isinstance(content, Mapping):
        return {}
    return {str(name): tensor.detach() for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _read_pickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _read_onnx(path: Path) -> dict[str, Tensor]:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    return {weight.name: torch.from_numpy(numpy_helper.to_array(weight).copy()) for weight in model.graph.initializer}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".bin": _read_pickle,
    ".npz": _read_npz,
    ".onnx": _read_onnx,
}
