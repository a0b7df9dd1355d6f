"""PyTorch modules on the way to a microcontroller: trained weights and calibration images for a word on the command line."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.workflow.quantizing import BATCH, IMAGES, Quantizing, of_run, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netwright.data.items import Items
    from netwright.data.preparation import Preparation
    from netwright.graph.integers.quantized import QuantizedGraph
    from netwright.models.own_space import GivenSpace

DEFAULT = Quantizing()
LARGEST_SIDE = 4096


def quantized_module(
    model: str,
    data: str | None,
    shape: str | None = None,
    *,
    space: GivenSpace | None = None,
    how: Quantizing = DEFAULT,
    preparation: Mapping[str, Any] | None = None,
) -> QuantizedGraph:
    """Return the integers of a module, its activations calibrated on images of `data`.

    A run's network takes the run's own images where `data` is None, and its trained weights; a module of a file brings its
    weights itself; by name alone a model has random ones. `shape`, as 1x3x32x32, is the module's input where its name does
    not say it. `how`: what was asked of it. `space`: the run's space again, or the one that `model` names an architecture of, where it is your own.
    `preparation`: fields of a `Preparation`, how images become the module's input where it does not say so itself.

    Raises:
        NetwrightError: no such model, no images, an input that is not known or not taken, or an operation that has no
            integer form.
    """
    head = model.partition(":")[0]
    if (Path(head) / "config.json").is_file():
        if shape is not None:
            raise NetwrightError(f"{model} has the size of its architecture: leave --input out.")
        if preparation is not None:
            raise NetwrightError(
                f"{model} is prepared for as its run was: leave --mean, --std, --scale, --channels out."
            )
        if data is not None:
            raise NetwrightError(f"{model} is calibrated on the images of its run: leave --data out.")
        return of_run(model, how, space)[0]
    if data is None:
        raise NetwrightError(
            f"{model} is not quantized: images are needed to find the ranges of its activations. Give a folder of images "
            "with --data."
        )
    module, batches, prepared_as = _of_name(model, data, shape, space, preparation)
    tried = "x".join(map(str, (1, *batches[0].shape[1:])))
    try:
        with quiet():
            made = how.quantize(module, batches)
        return dataclasses.replace(made, images={"preparation": prepared_as.to_json(), "classes": []})
    except NetwrightError as error:
        raise NetwrightError(
            f"{error} Tried with one input, images of {tried}; --input states another shape. "
            "What takes several inputs is quantized with netwright.quantize."
        ) from error


def _of_name(
    model: str,
    data: str,
    text: str | None,
    space: GivenSpace | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, list[Tensor], Preparation]:
    """Build a module by name and bring images to its input, prepared as its weights expect."""
    from torch import nn

    from netwright.core.progress import say
    from netwright.data.load import channel_statistics
    from netwright.data.preparation import Preparation, in_channels, prepared
    from netwright.workflow.models import read_model

    asked = None if text is None else _image_shape(text)
    read = read_model(model, shape=asked, real=True, space=space)
    if not isinstance(read.made, nn.Module):
        raise NetwrightError(
            f"{model} is no module with weights. `compile` takes .tflite files, layer lists and modules."
        )
    shape = asked or read.input
    if shape is None:
        raise NetwrightError(f"{model} does not say the size of its images. State it: --input 1x3x224x224.")
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise NetwrightError(f"{model} takes {shape}; images of 1 or 3 channels are calibrated here. State --input.")
    own = model.partition(":")[0].endswith(".py")
    if not own:
        say(f"{model} has random weights: what it needs is told rightly, what it answers means nothing")
    fields = _stated(model, read.made, shape, given, own=own)
    how = Preparation(**fields)
    images_NCHW = _images(data, how)
    if "mean" not in fields:  # random weights expect nothing
        mean, std = channel_statistics(images_NCHW)
        if how.count == 1:
            mean, std = (
                part[:1] for part in channel_statistics(in_channels(images_NCHW, "grey").expand(-1, 3, -1, -1))
            )
        how = dataclasses.replace(how, mean=mean, std=std)
    return read.made.eval(), [prepared(part, how) for part in images_NCHW.split(BATCH)], how


def _stated(
    model: str, module: nn.Module, shape: Sequence[int], given: Mapping[str, Any] | None, *, own: bool
) -> dict[str, Any]:
    """Return the fields of a module's preparation: what is given goes before what the module says.

    Raises:
        NetwrightError: a module of a file, with weights that expect something, and nothing says what.
    """
    from netwright.data.preparation import of_pretrained

    _, channels, height, width = shape
    fields: dict[str, Any] = {"channels": "grey"} if channels == 1 else {}
    made_for = getattr(module, "pretrained_cfg", None)
    if own and made_for is None and not given:
        raise NetwrightError(
            f"{model} does not say how images become its input. State it as in its training, (byte / scale - mean) / std: "
            "--scale 255 for values from 0 to 1, --scale 1 for 0 to 255; --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (of "
            "the scaled values); --channels BGR where it takes them so. In Python: compile(..., preparation={'scale': 255}). "
            "A module with timm's `pretrained_cfg` says it itself."
        )
    fields |= {"height": height, "width": width}
    if made_for:
        of_timm = of_pretrained(made_for, height, width)
        fields |= {name: value[:channels] if name in ("mean", "std") else value for name, value in of_timm.items()}
    fields |= given or {}
    if own or given or made_for:
        fields = {"mean": (0.0,), "std": (1.0,), **fields}
    count = 1 if fields.get("channels") == "grey" else 3
    if count != channels:
        raise NetwrightError(f"{model} takes {channels} channels; --channels {fields['channels']} has {count}.")
    return fields


def _image_shape(text: str) -> tuple[int, ...]:
    """Return the shape of an input of one image.

    Raises:
        NetwrightError: several images, other than 1 or 3 channels, sides beyond the largest, or no floats.
    """
    from netwright.workflow.models import read_shape

    shape, dtype = read_shape(text)
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3) or dtype != "float32" or max(shape) > LARGEST_SIDE:
        raise NetwrightError(
            f"--input {text!r} is no image that a module is calibrated on. Allowed: 1xCxHxW with 1 or 3 channels and sides "
            f"up to {LARGEST_SIDE}, such as 1x3x224x224 or 1x1x28x28."
        )
    return shape


def _images(data: str, how: Preparation) -> Tensor:
    """Return some images, uint8 [N, 3, S, S] with S the decoded size.

    Classes are not needed: any directory or .zip with images will do, besides what `load_dataset` takes.

    Raises:
        NetwrightError: no images there.
    """
    from netwright.data.decode import decode_all
    from netwright.data.load import load_dataset, say_left_out
    from netwright.data.named import is_hugging_face

    path, side = Path(data), how.decoded_size
    if data in ("", "digits") or not path.exists() or (path.is_dir() and is_hugging_face(path)):
        return load_dataset(data, size=side).train.take(IMAGES, 0).images_NCHW
    with contextlib.ExitStack() as stack:
        items = _some(_listed(path, stack))
        decoded = decode_all(items, side, resize=how.resize, crop=how.crop)
    say_left_out(items, decoded)
    return decoded.images_NCHW


def _listed(path: Path, stack: contextlib.ExitStack) -> Items:
    """List the training images where they are told from others, else every image at any depth."""
    from netwright.data.files import open_tree
    from netwright.data.folders import SUFFIXES, is_image, list_folders
    from netwright.data.items import Items

    with contextlib.suppress(NetwrightError):  # no class folders: none are needed; what cannot be opened raises again
        items = list_folders([path], stack)
        if items.train_count is not None:
            return items
    tree = open_tree(path, stack)
    names = sorted(filter(is_image, tree.stamps))
    if not names:
        raise NetwrightError(
            f"{path} holds no images. Give a directory or .zip with files ending in {', '.join(SUFFIXES)}, at any depth, "
            'or "digits", "torchvision:NAME[:ROOT]", a Hugging Face dataset directory.'
        )
    return Items(path.absolute().stem, ("image",), names, lambda place: (tree.read(names[place]), 0), "")


def _some(items: Items) -> Items:
    """Return at most as many training images as are calibrated with, drawn without regard to their order."""
    import torch

    count = len(items.names) if items.train_count is None else items.train_count
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:IMAGES].tolist()
    names = [items.names[place] for place in chosen]
    return dataclasses.replace(items, names=names, open=lambda place: items.open(chosen[place]), train_count=None)
