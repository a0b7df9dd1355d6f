"""How well a network does its task, and a supernet's largest, middle and smallest sub-network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netwright.data import Dataset, ImageSet, calibration_batches, eval_batches
from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.supernet.calibrate import has_batch_norm
from netwright.supernet.supernet import Supernet
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS


@torch.inference_mode()
def evaluate(
    net: nn.Module,
    images: ImageSet,
    *,
    task: str | Task = "classification",
    mean: Sequence[float],
    std: Sequence[float],
    resolution: int,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Return the task's metric over the images, in its unit; the net's mode is kept.

    `images`: with their targets, as `Task.prepare` returns them.

    Raises:
        NetwrightError: no such task.
    """
    task = TASKS.find(task)
    training = net.training
    net.eval()
    meter = task.meter()
    batches = eval_batches(images, mean=mean, std=std, resolution=resolution, batch_size=batch_size, device=device)
    for x_BCHW, targets in batches:
        inputs, targets = task.batch(x_BCHW, targets)
        meter.update(net(*arguments(inputs)), targets)
    net.train(training)
    return meter.value()


def arguments(inputs: Any) -> tuple[Any, ...]:
    """Return what a network is called with: images and feature maps with the channels last in memory."""
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    return tuple(
        one.contiguous(memory_format=torch.channels_last) if isinstance(one, Tensor) and one.ndim == 4 else one
        for one in several
    )


def calibrated(
    supernet: Supernet, arch: Arch, dataset: Dataset, *, calibration_images: int = 1024, seed: int = 0
) -> nn.Module:
    """Return a sub-network with BatchNorm statistics of its own, measured on training images."""
    batches = None
    if has_batch_norm(supernet.net):
        device = next(supernet.parameters()).device
        batches = calibration_batches(
            dataset, resolution=arch.resolution, images=calibration_images, seed=seed, device=device
        )
    return supernet.extract(arch, batches)


def evaluate_subnet(
    supernet: Supernet,
    arch: Arch,
    dataset: Dataset,
    *,
    task: str | Task = "classification",
    images: ImageSet | None = None,
    calibration_images: int = 1024,
    batch_size: int = 256,
    seed: int = 0,
) -> float:
    """Return the task's metric of one sub-network with BatchNorm statistics of its own.

    `images`: what to evaluate on; None: the validation images.
    """
    net = calibrated(supernet, arch, dataset, calibration_images=calibration_images, seed=seed)
    return evaluate(
        net,
        dataset.val if images is None else images,
        task=task,
        mean=dataset.mean,
        std=dataset.std,
        resolution=arch.resolution,
        batch_size=batch_size,
        device=next(supernet.parameters()).device,
    )


def accuracy(
    net: nn.Module,
    images: ImageSet,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    resolution: int,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Return the share of images whose highest logit is their label, in percent: `evaluate` for classification."""
    shared = {"resolution": resolution, "batch_size": batch_size, "device": device}
    return evaluate(net, images, task="classification", mean=mean, std=std, **shared)


def subnet_accuracy(
    supernet: Supernet, arch: Arch, dataset: Dataset, *, calibration_images: int = 1024, seed: int = 0
) -> float:
    """Return the validation accuracy, in percent, of one sub-network: `evaluate_subnet` for classification."""
    return evaluate_subnet(supernet, arch, dataset, calibration_images=calibration_images, seed=seed)


def landmarks(space: SearchSpace) -> dict[str, Arch]:
    """Return the archs that are watched during training."""
    middle = space.decode(space.canonical(space.sizes[None] // 2)[0])
    return {"largest": space.largest(), "middle": middle, "smallest": space.smallest()}
