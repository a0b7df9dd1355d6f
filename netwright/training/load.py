"""A trained supernet from its run directory."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.run import Run
from netwright.core.state import load_state
from netwright.models.family import Family
from netwright.models.own_space import read_family
from netwright.supernet.supernet import Supernet


def load_supernet(run: Run, family: Family | None = None) -> Supernet:
    """Return the supernet of a finished run, in eval mode. `family`: needed for a space of the user's own.

    Raises:
        NetwrightError: the run is of another kind, is not finished, or its weights do not fit its space.
    """
    if run.config.get("kind") != "supernet":
        raise NetwrightError(f"{run.path} holds a {run.config.get('kind')!r} run, not a supernet's.")
    path = run.path / "model.safetensors"
    if not path.exists():
        raise NetwrightError(
            f"{run.path} has no model.safetensors: its training is not finished. Resume it by training into the same directory."
        )
    family = family or read_family({"settings": {}, **run.config}, str(run.path))
    supernet = Supernet(family)
    try:
        load_tensors(supernet, load_state(path), "weights")
    except NetwrightError as error:
        raise NetwrightError(f"Cannot load {path}. {error}") from error
    return supernet.eval()


def load_tensors(module: nn.Module, given: Any, what: str) -> None:
    """Copy tensors into a module's parameters and buffers.

    Raises:
        NetwrightError: a name or shape differs.
    """
    check_tensors(given, module.state_dict(), what)
    module.load_state_dict(given)


def check_tensors(given: Any, expected: dict[str, Tensor], what: str) -> None:
    """Raise unless `given` holds the expected names with the expected shapes.

    Raises:
        NetwrightError: naming the first tensor that is missing, surplus or of another shape.
    """
    if not isinstance(given, dict):
        raise NetwrightError(f"Its {what} are missing.")
    for name in sorted(given.keys() | expected.keys()):
        shapes = [list(t.shape) if isinstance(t, Tensor) else "missing" for t in (given.get(name), expected.get(name))]
        if shapes[0] != shapes[1]:
            raise NetwrightError(
                f"Its {what} do not fit: {name} is {shapes[0]} there and {shapes[1]} here, so it belongs to another "
                "space, other settings or another version."
            )
