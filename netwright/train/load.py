"""A trained supernet from its run directory."""

from __future__ import annotations

import torch

from netwright.core.errors import NetwrightError
from netwright.core.run import Run
from netwright.core.state import load_state
from netwright.supernet import spaces
from netwright.supernet.supernet import Supernet


def load_supernet(run: Run) -> Supernet:
    """Return the supernet of a finished run, in eval mode.

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
    family = spaces.family(run.config["space"], **run.config.get("settings", {}))
    with torch.device("meta"):
        supernet = Supernet(family)
    load_weights(supernet, load_state(path), str(path))
    return supernet.eval()


def load_weights(module: torch.nn.Module, weights: dict, where: str) -> None:
    """Put weights into a module, which takes them over.

    Raises:
        NetwrightError: names or shapes differ; the message names the first.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {
        name: tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "not a tensor"
        for name, tensor in weights.items()
    }
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise NetwrightError(
                f"{where} does not fit: {name} is {given.get(name, 'missing')}, expected {expected.get(name, 'nothing')}. "
                "It was made for another space, other settings, or by another version."
            )
    module.load_state_dict(weights, assign=True)
