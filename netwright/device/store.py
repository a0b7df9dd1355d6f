"""Where latency models are kept, and which one fits a space on this machine."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.core.run import processor
from netwright.core.tables import name_of
from netwright.device.latency import LatencyModel
from netwright.device.machine import THIS
from netwright.runtime.runtimes import Runtime
from netwright.runtime.runtimes import runtime as runtime_of


def home() -> Path:
    """Return the folder of netwright's own files: $NETWRIGHT_HOME, or ~/.netwright."""
    return Path(os.environ.get("NETWRIGHT_HOME") or Path.home() / ".netwright")


def model_path(device: str, space: str, runtime: str) -> Path:
    """Return where the model of a space on a device is kept; `this` is the machine netwright runs on."""
    return device_folder(device) / f"{_slug(space)}.{_slug(runtime)}.json"


def device_folder(device: str) -> Path:
    """Return the folder of what was measured on a device."""
    return home() / "devices" / _slug(processor() if device == THIS else device)


def save_model(model: LatencyModel) -> Path:
    """Keep a model where `find_model` looks, replacing an older one; return its path."""
    path = model_path(model.device, model.space, model.runtime)
    model.save(path)
    return path


def find_model(device: str, space: str, runtime: str | Runtime = "onnxruntime") -> LatencyModel:
    """Return the model kept for a space on a device. `device` is `this`, a CPU's name, or a path to a file.

    `runtime`: a name of `RUNTIMES`, FILE.py:NAME, or a runtime.

    Warns (UserWarning) where the model was measured on another machine or with another version of the runtime.

    Raises:
        NetwrightError: none was measured yet (the message names the command), or the file is damaged.
    """
    installed, runtime = runtime_of(runtime).version, name_of(runtime)
    given = Path(device)
    path = given if given.suffix == ".json" else model_path(device, space, runtime)
    if not path.is_file():
        raise NetwrightError(
            f"No latency model of space {space!r} on device {device!r} with {runtime}: {path} does not exist. "
            f"Make it on that device with `netwright device this --measure --space {space}`."
        )
    model = LatencyModel.load(path)
    if (model.space, model.runtime) != (space, runtime):
        raise NetwrightError(
            f"{path} holds the model of space {model.space!r} with {model.runtime}, not of {space!r} with {runtime}. "
            f"Make the right one with `netwright device this --measure --space {space}`."
        )
    if device == THIS and model.device != processor():
        warnings.warn(f"{path} was measured on {model.device}; this machine is {processor()}.", stacklevel=2)
    if model.runtime_version != installed:
        warnings.warn(
            f"{path} was measured with {model.runtime_version}; installed is {installed}. Measure again for exact figures.",
            stacklevel=2,
        )
    return model


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "unknown"
