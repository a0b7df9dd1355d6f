"""PyTorch modules on the way to a microcontroller: trained weights and calibration images for a word on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netwright.graph.quantized import QuantizedGraph

IMAGES = 256  # more change the found ranges little
BATCH = 32


def quantized_module(model: str, data: str | None) -> QuantizedGraph:
    """Return the integers of a module, its activations calibrated on images of `data`.

    A run's network takes the run's own images where `data` is None, and its trained weights; a module of a file brings its
    weights itself; by name alone a model has random ones.

    Raises:
        NetwrightError: no such model, no images, or an operation that has no integer form.
    """
    from netwright.compress import quantize

    head = model.partition(":")[0]
    if (Path(head) / "config.json").is_file():
        module, batches = _of_run(model, data)
    elif data is None:
        raise NetwrightError(
            f"{model} is not quantized: images are needed to find the ranges of its activations. Give a folder of class "
            "folders with --data."
        )
    else:
        module, batches = _of_name(model, data)
    return quantize(module, batches)


def _of_run(model: str, data: str | None) -> tuple[nn.Module, list[Tensor]]:
    """Extract a network of a run, calibrated, with some of the run's training images."""
    from netwright.cli.archs import choose
    from netwright.cli.deploy import extract
    from netwright.cli.workspace import dataset_of, has_model, open_run, training_part
    from netwright.data.loader import calibration_batches

    if data is not None:
        raise NetwrightError(f"{model} is calibrated on the images of its run: leave --data out.")
    head, _, tail = model.partition(":")
    run = open_run(Path(head))
    has_model(run)
    arch, _ = choose(run, tail or "best")
    dataset = training_part(run, dataset_of(run))
    module = extract(run, arch, dataset, 0.0, 1024)
    return module, calibration_batches(dataset, resolution=arch.resolution, images=IMAGES, batch_size=BATCH)


def _of_name(model: str, data: str) -> tuple[nn.Module, list[Tensor]]:
    """Build a module by name and bring images to its size, normalized as its weights expect where that is known."""
    from torch import nn

    from netwright.cli.model import read_model
    from netwright.core.progress import say
    from netwright.data.load import load_dataset
    from netwright.data.loader import normalized

    read = read_model(model, real=True)
    if not isinstance(read.made, nn.Module):
        raise NetwrightError(
            f"{model} is no module with weights. `compile` takes .tflite files, layer lists and modules."
        )
    if not model.partition(":")[0].endswith(".py"):
        say(f"{model} has random weights: what it needs is told rightly, what it answers means nothing")
    side = _side(read.input, model)
    dataset = load_dataset(data, size=side)
    mean, std = _statistics(read.made, dataset.mean, dataset.std)
    images = dataset.train.take(IMAGES, 0).images_NCHW
    return read.made.eval(), [normalized(part, mean, std, side) for part in images.split(BATCH)]


def _side(shape: tuple[int, ...] | None, model: str) -> int:
    if shape is None:
        return 224
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise NetwrightError(
            f"{model} takes {shape}; only square RGB images are calibrated here. Use netwright.compress.quantize."
        )
    return shape[2]


def _statistics(
    module: nn.Module, mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation of the images that a module was made for; those of the dataset if it says nothing."""
    made_for = getattr(module, "pretrained_cfg", None)
    return (made_for["mean"], made_for["std"]) if made_for else (mean, std)
