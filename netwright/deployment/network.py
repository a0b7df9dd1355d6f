"""An extracted network on disk: arch.json says what it is, model.safetensors holds its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json, write_json
from netwright.core.state import load_state, save_state
from netwright.models.arch import Arch
from netwright.models.own_space import GivenSpace, read_family

SCHEMA = 1


def save_network(
    folder: str | Path,
    net: nn.Module,
    *,
    space: str,
    settings: Mapping[str, Any],
    arch: Arch,
    own: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights and the description from which `load_network` builds the network again.

    `space`, `settings`, `own`: the family's record, see `models.own_space.record_family`.
    """
    folder = Path(folder)
    save_state(folder / "model.safetensors", dict(net.state_dict()))
    description: dict[str, Any] = {"schema": SCHEMA, "space": space, "settings": dict(settings), "arch": arch.to_json()}
    if own is not None:
        description["own"] = dict(own)
    write_json(folder / "arch.json", description)


def load_network(folder: str | Path, *, space: GivenSpace | None = None) -> nn.Module:
    """Return the network of a folder that `netwright deploy` wrote: a plain nn.Module in eval mode, no supernet.

    `space`: the space it was found in, where that is one of your own: FILE.py:NAME, a function or a Family.

    Raises:
        NetwrightError: a file is missing or damaged, the weights do not fit the architecture, or the space is to be given.
    """
    folder = Path(folder)
    description = read_json(folder / "arch.json")
    if not isinstance(description, dict) or description.get("schema") != SCHEMA:
        raise NetwrightError(f"{folder / 'arch.json'} is not an architecture under schema {SCHEMA}.")
    try:
        made = read_family(description, str(folder), space)
        arch = Arch.from_json(description["arch"])
    except (KeyError, TypeError) as error:
        raise NetwrightError(f"{folder / 'arch.json'} lacks a valid {error}.") from error
    made.space.encode(arch)  # refuses an arch that is not of this space
    with torch.device("meta"):
        net = made.build(arch)
    weights = load_state(folder / "model.safetensors")
    try:
        net.load_state_dict(weights, assign=True)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise NetwrightError(f"{folder / 'model.safetensors'} does not fit {folder / 'arch.json'}: {reason}") from error
    return net.requires_grad_(True).eval()
