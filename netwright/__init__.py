"""From a vision dataset, a device and a budget to the best network that fits, measured on that device.

The public names below load their modules when they are first used, so that `import netwright` loads no torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.core.arch import Arch
    from netwright.core.errors import NetwrightError
    from netwright.core.run import Run
    from netwright.nn.block import Block
    from netwright.supernet.calibrate import calibrate
    from netwright.supernet.family import Family
    from netwright.supernet.space import SearchSpace
    from netwright.supernet.spaces import SPACES, family
    from netwright.supernet.supernet import Supernet

__all__ = [
    "SPACES",
    "Arch",
    "Block",
    "Family",
    "NetwrightError",
    "Run",
    "SearchSpace",
    "Supernet",
    "calibrate",
    "family",
]

_WHERE = {
    "netwright.core.arch": ("Arch",),
    "netwright.core.errors": ("NetwrightError",),
    "netwright.core.run": ("Run",),
    "netwright.nn.block": ("Block",),
    "netwright.supernet.calibrate": ("calibrate",),
    "netwright.supernet.family": ("Family",),
    "netwright.supernet.space": ("SearchSpace",),
    "netwright.supernet.spaces": ("SPACES", "family"),
    "netwright.supernet.supernet": ("Supernet",),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("netwright")
    for module, names in _WHERE.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'netwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
