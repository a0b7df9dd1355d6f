"""BatchNorm statistics of one network, measured on its own activations.

Once-for-all, arXiv:1908.09791; "Universally Slimmable Networks", Yu and Huang 2019, arXiv:1903.05134, Section 3.2 (exact averages).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import BatchNorm


def has_batch_norm(net: nn.Module) -> bool:
    """Whether a network has BatchNorm layers, and so needs calibration after its weights were cut."""
    return any(isinstance(module, BatchNorm) for module in net.modules())


@torch.no_grad()
def calibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of every BatchNorm by their averages over the batches; leave eval mode on.

    Raises:
        NetwrightError: there are no batches.
    """
    norms = [module for module in net.modules() if isinstance(module, BatchNorm)]
    net.eval()
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # None: the plain average over all batches
        module.train()
    seen = 0
    for x_BCHW in batches:
        net(x_BCHW)
        seen += len(x_BCHW)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
        module.eval()
    if norms and not seen:
        raise NetwrightError("Calibration got no images: pass batches of training images (a few hundred images do).")
