"""Top-1 accuracy of a network, and of a supernet's largest, middle and smallest sub-network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from netwright.data import Dataset, ImageSet, calibration_batches, eval_batches
from netwright.models.arch import Arch
from netwright.models.space import SearchSpace
from netwright.supernet.calibrate import has_batch_norm
from netwright.supernet.supernet import Supernet


@torch.inference_mode()
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
    """Return the share of images whose highest logit is their label, in percent; the net's mode is kept."""
    training = net.training
    net.eval()
    correct = 0
    batches = eval_batches(images, mean=mean, std=std, resolution=resolution, batch_size=batch_size, device=device)
    for x_BCHW, y_B in batches:
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        correct += int((net(x_BCHW).argmax(1) == y_B).sum())
    net.train(training)
    return 100 * correct / max(len(images), 1)


def subnet_accuracy(
    supernet: Supernet, arch: Arch, dataset: Dataset, *, calibration_images: int = 1024, seed: int = 0
) -> float:
    """Return the validation accuracy, in percent, of one sub-network with BatchNorm statistics of its own."""
    device = next(supernet.parameters()).device
    calibration = None
    if has_batch_norm(supernet.net):
        calibration = calibration_batches(
            dataset, resolution=arch.resolution, images=calibration_images, seed=seed, device=device
        )
    net = supernet.extract(arch, calibration)
    return accuracy(net, dataset.val, mean=dataset.mean, std=dataset.std, resolution=arch.resolution, device=device)


def landmarks(space: SearchSpace) -> dict[str, Arch]:
    """Return the archs that are watched during training."""
    middle = space.decode(space.canonical(space.sizes[None] // 2)[0])
    return {"largest": space.largest(), "middle": middle, "smallest": space.smallest()}
