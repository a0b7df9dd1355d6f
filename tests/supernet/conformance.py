"""The original once-for-all supernets with random weights, and the same arch for both implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets, OFAResNets
from torch import nn

from netwright.models.arch import Arch
from netwright.models.families import family
from netwright.supernet.ofa_checkpoint import load_ofa_checkpoint

_MOBILE = {"dropout_rate": 0, "ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
_RESNET = {
    "dropout_rate": 0,
    "depth_list": [0, 1, 2],
    "expand_ratio_list": [0.2, 0.25, 0.35],
    "width_mult_list": [0.65, 0.8, 1.0],
}
NETWORKS = {
    "ofa-mbv3-w1.0": lambda: OFAMobileNetV3(width_mult=1.0, **_MOBILE),
    "ofa-mbv3-w1.2": lambda: OFAMobileNetV3(width_mult=1.2, **_MOBILE),
    "ofa-proxyless-w1.3": lambda: OFAProxylessNASNets(width_mult=1.3, **_MOBILE),
    "ofa-resnet50": lambda: OFAResNets(**_RESNET),
}


def original(name: str, seed: int = 0) -> nn.Module:
    """Return once-for-all's supernet with random weights and transform matrices."""
    torch.manual_seed(seed)
    net = NETWORKS[name]()
    with torch.no_grad():
        for key, tensor in net.named_parameters():
            if key.endswith("_matrix"):
                tensor.add_(0.1 * torch.randn_like(tensor))
        for norm in _norms(net):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
    return net.eval()


@torch.no_grad()
def randomize_statistics(net: nn.Module, x_BCHW: torch.Tensor) -> None:
    """Give the active sub-network statistics near those of its activations, so that outputs depend on the images."""
    for norm in _norms(net):
        norm.momentum = 1.0
    net.train()(x_BCHW)
    for norm in _norms(net):
        norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    net.eval()


def _norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def activate(net: Any, arch: Arch) -> None:
    """Set once-for-all's active sub-network to an arch."""
    if arch.widths:
        (*stages, stem), multipliers = arch.depths, net.width_mult_list
        depths = [2 * stem, *(depth - least for depth, least in zip(stages, net.BASE_DEPTH_LIST, strict=True))]
        net.set_active_subnet(d=depths, e=list(arch.expansions), w=[multipliers.index(w) for w in arch.widths])
    else:
        net.set_active_subnet(ks=list(arch.kernels), e=list(arch.expansions), d=list(arch.depths))


@torch.no_grad()
def differences(name: str, count: int, size: int, seed: int = 0) -> list[float]:
    """Return the largest difference of outputs of `count` random archs, in units of their spread over images."""
    net, ours = original(name, seed), family(name)
    result = []
    for genes in ours.space.sample(np.random.default_rng(seed), count):
        arch = ours.space.decode(genes)
        x_BCHW = torch.randn(4, 3, size or arch.resolution, size or arch.resolution)
        activate(net, arch)
        randomize_statistics(net, x_BCHW)
        supernet = load_ofa_checkpoint(net.state_dict(), ours).eval()
        expected = net(x_BCHW)
        spread = (expected - expected.mean(0)).std()
        result.append(float((expected - supernet(x_BCHW, arch)).abs().max() / spread.clamp(max=1)))
    return result
