"""Reads supernets that Once-for-all published (github.com/mit-han-lab/once-for-all), by a map of their tensor names.

Its checkpoints come in two spellings (`mobile_inverted_conv` for `conv`, and `conv.conv`, `bn.bn`, `linear.linear` for
one of each); both are brought to one before the map applies.
"""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.models.family import Family
from netwright.nn.block import Block
from netwright.nn.bottleneck import Bottleneck
from netwright.nn.mbconv import MBConv
from netwright.supernet.supernet import Supernet

_MBCONV = {
    "expand.": "inverted_bottleneck.",
    "depthwise.": "depth_conv.",
    "squeeze_excite.": "depth_conv.se.fc.",
    "project.": "point_linear.",
}
_BOTTLENECK = {"reduce.": "conv1.", "spatial.": "conv2.", "expand.": "conv3.", "shortcut.": "downsample."}


def load_ofa_checkpoint(source: str | Path | Mapping[str, Tensor], family: Family) -> Supernet:
    """Return the supernet of an `ofa-...` family with weights from once-for-all: a checkpoint file or its state dict.

    Files are read without unpickling objects.

    Raises:
        NetwrightError: not such a family or file; or tensors are missing, unknown or of another shape: all are listed.
    """
    if not family.space.name.startswith("ofa-"):
        raise NetwrightError(
            f"Once-for-all published no supernet of {family.space.name!r}. Take one of the families named ofa-..."
        )
    given = {_plain(name): tensor for name, tensor in _state(source).items()}
    supernet = Supernet(family)
    wanted: dict[str, Tensor] = supernet.state_dict()
    blocks = _their_blocks(family)
    names = {ours: _their_name(ours, blocks) for ours in wanted}
    missing = [name for name in names.values() if name not in given and not name.endswith("num_batches_tracked")]
    extra = sorted(set(given) - set(names.values()))
    state, misshapen = {}, []
    for ours, theirs in names.items():
        tensor = given.get(theirs, wanted[ours])
        if tensor.numel() == wanted[ours].numel() and _squeezed(tensor) == _squeezed(wanted[ours]):
            state[ours] = tensor.reshape(wanted[ours].shape)
        else:
            misshapen.append(f"{theirs} is {tuple(tensor.shape)}, not {tuple(wanted[ours].shape)}")
    problems = {"Missing": missing, "Unknown": extra, "Of another shape": misshapen}
    if any(problems.values()):
        listed = " ".join(f"{what}: {_listed(names)}." for what, names in problems.items() if names)
        raise NetwrightError(
            f"The checkpoint does not fit {family.space.name} with these settings: {dict(family.settings)}. {listed} "
            "Check that it is the supernet of this family, and that `classes` is the same."
        )
    supernet.load_state_dict(state)
    return supernet


def _state(source: str | Path | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if isinstance(source, str | Path):
        try:
            values = torch.load(source, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise NetwrightError(f"{source} does not exist.") from error
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise NetwrightError(f"{source} is not a torch checkpoint of plain tensors: {error}") from error
    else:
        values = source
    if isinstance(values, Mapping) and isinstance(values.get("state_dict"), Mapping):
        values = values["state_dict"]
    if not isinstance(values, Mapping) or not all(isinstance(tensor, Tensor) for tensor in values.values()):
        raise NetwrightError(
            "Not a once-for-all checkpoint: expected tensors by name, or {'state_dict': tensors by name}."
        )
    return values


def _plain(name: str) -> str:
    """Return the one spelling of a name: no wrapper twice, no `module.` of a parallel run."""
    parts = name.removeprefix("module.").replace("mobile_inverted_conv", "conv").split(".")
    plain = ".".join(part for part, _ in itertools.groupby(parts))
    return re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.", plain)


def _their_blocks(family: Family) -> dict[str, tuple[str, Block]]:
    """Return our block names with the prefix of their tensors in a checkpoint."""
    blocks = family.blocks(family.space.largest())
    mobile = "first" in blocks
    fixed = {"stem.in": "input_stem.0.", "stem.0": "input_stem.1.conv.", "stem.out": "input_stem.2."}
    if mobile:
        last = "final_expand_layer." if family.space.name.startswith("ofa-mbv3") else "feature_mix_layer."
        fixed = {"stem": "first_conv.", "last": last}
    result, count = {}, 0
    for name, block in blocks.items():
        if isinstance(block, MBConv | Bottleneck):
            result[name] = (f"blocks.{count}.", block)
            count += 1
        else:
            result[name] = (fixed.get(name, ""), block)
    return result


def _their_name(ours: str, blocks: Mapping[str, tuple[str, Block]]) -> str:
    """Return the plain once-for-all name of one of our tensors."""
    if ours.startswith("transforms."):
        path, _, step = ours.removeprefix("transforms.").rpartition(":")
        weight = _their_name("net." + path.replace("/", "."), blocks)
        return f"{weight.removesuffix('weight')}{step}_matrix"
    name = ours.removeprefix("net.")
    if name.startswith("head."):
        return name.replace("head.hidden.", "feature_mix_layer.conv.").replace("head.classifier.", "classifier.linear.")
    block_name = max((block for block in blocks if name.startswith(block + ".")), key=len)
    prefix, block = blocks[block_name]
    inner = name.removeprefix(block_name + ".")
    parts = _MBCONV if isinstance(block, MBConv) else _BOTTLENECK if isinstance(block, Bottleneck) else {}
    for ending, theirs in parts.items():
        if inner.startswith(ending):
            inner = theirs + inner.removeprefix(ending)
    return _plain(prefix + inner.replace("norm.", "bn."))


def _squeezed(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
