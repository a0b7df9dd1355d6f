"""The runtimes by name. Nothing of torch is imported before one is used."""

from __future__ import annotations

from netwright.core.tables import Table
from netwright.runtime.runtime import Runtime

RUNTIMES: Table[Runtime] = Table(
    "Runtime",
    {"onnxruntime": "netwright.runtime.onnxruntime:RUNTIME", "eager": "netwright.runtime.eager:RUNTIME"},
    kind="netwright.runtime.runtime:Runtime",
)


def runtime(given: str | Runtime) -> Runtime:
    """Return a runtime by name or FILE.py:NAME; one that is given is returned as it is.

    Raises:
        NetwrightError: there is no such runtime.
    """
    return RUNTIMES.find(given)
