"""The runtimes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

import numpy as np

from netwright.core.errors import unknown
from netwright.runtime import eager, onnxruntime


class Program(Protocol):
    """A network that is ready to run."""

    def run(self, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Runtime:
    """What runs networks: `compile(module, in_shape, threads=1)` makes a program for batch 1.

    `chain(parts, threads=1)` makes one of a chain of blocks, each of which `prepare(module, in_shape)` made a part:
    much faster where many networks share blocks. `package` is what its version is read from.
    """

    package: str
    compile: Callable[..., Program]
    prepare: Callable[..., Any]
    chain: Callable[..., Program]

    @property
    def version(self) -> str:
        """Name and version of the package; figures belong to it."""
        return f"{self.package} {metadata.version(self.package)}"


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime("onnxruntime", onnxruntime.compile, onnxruntime.prepare, onnxruntime.chain),
    "eager": Runtime("torch", eager.compile, eager.prepare, eager.chain),
}


def runtime(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        NetwrightError: there is no such runtime.
    """
    if name not in RUNTIMES:
        raise unknown("Runtime", name, RUNTIMES)
    return RUNTIMES[name]
