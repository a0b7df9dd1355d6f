"""One set of weights that serves every architecture of a space.

Once-for-all, Cai et al. 2020, arXiv:1908.09791. There are no elastic layers and no active sub-network: a static
network is built on the meta device and called with tensors cut from the largest one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from netwright.core.arch import Arch
from netwright.core.errors import NetwrightError
from netwright.supernet.calibrate import calibrate, has_batch_norm
from netwright.supernet.cut import kernel_name, kernel_steps, leading, shrink_kernel
from netwright.supernet.family import Family


class Supernet(nn.Module):
    """The parameters of the largest network of a family, and kernel transform matrices.

    Calling it runs one arch: `supernet(x_BCHW, arch)`. Attributes: `family`; `net`, the largest network;
    `transforms`, one identity-initialised matrix a kernel step a depthwise weight (7 to 5: 25x25, 5 to 3: 9x9).
    """

    def __init__(self, family: Family):
        super().__init__()
        self.family = family
        self.net = family.build(family.space.largest())
        self.transforms = nn.ParameterDict()
        kernels = [int(size) for choices in family.space.kernels for size in choices]
        self._steps: dict[str, list[tuple[int, int]]] = {}
        for name, weight in self.net.named_parameters():
            elastic = weight.ndim == 4 and weight.shape[1] == 1 and weight.shape[-1] in kernels
            self._steps[name] = kernel_steps(kernels, weight.shape[-1]) if elastic else []
            for step in self._steps[name]:
                self.transforms[kernel_name(name, step)] = nn.Parameter(torch.eye(step[1] ** 2))
        self._skeleton = functools.lru_cache(maxsize=256)(self._build_skeleton)

    def forward(self, x_BCHW: Tensor, arch: Arch) -> Tensor:
        """Run one arch in the supernet's mode (train or eval)."""
        skeleton, _ = self._skeleton(arch)
        if skeleton.training != self.training:
            skeleton.train(self.training)
        return functional_call(skeleton, self.cut(arch), (x_BCHW,), tie_weights=False)

    def cut(self, arch: Arch) -> dict[str, Tensor]:
        """Return the parameters and buffers of an arch, cut from the largest network's as views.

        Gradients flow back to the whole tensors; running statistics are updated in place.
        """
        tensors = self._tensors
        return {name: self._cut_one(name, tensors[name], shape) for name, shape in self._skeleton(arch)[1]}

    def extract(self, arch: Arch, calibration: Iterable[Tensor] | None) -> nn.Sequential:
        """Return the arch as a static network of its own, in eval mode.

        The shared BatchNorm statistics fit no single sub-network, so they are measured anew on
        `calibration`, batches of normalised images x_BCHW (a few hundred images do). Networks without BatchNorm take None.

        Raises:
            NetwrightError: the network has BatchNorm and calibration is None or empty.
        """
        net = self.copy_of(arch)
        if has_batch_norm(net):
            if calibration is None:
                raise NetwrightError(
                    "extract needs calibration data: this network has BatchNorm, whose statistics must be measured "
                    "for each sub-network. Pass batches of training images (a few hundred images do)."
                )
            calibrate(net, calibration)
        return net.eval()

    @torch.no_grad()
    def copy_of(self, arch: Arch) -> nn.Sequential:
        """Return a static network with copies of the arch's weights and the shared statistics, uncalibrated."""
        with torch.device("meta"):
            net = self.family.build(arch)
        cut = {name: tensor.detach().clone() for name, tensor in self.cut(arch).items()}
        net.load_state_dict(cut, assign=True)
        return net.requires_grad_(True).train(self.training)

    def sort_channels(self) -> None:
        """Order hidden channels by importance, before widths shrink; the largest network's output does not change."""
        for module in self.net.modules():
            sort = getattr(module, "sort_channels", None)
            if callable(sort):
                sort()

    def _build_skeleton(self, arch: Arch) -> tuple[nn.Sequential, tuple[tuple[str, torch.Size], ...]]:
        with torch.device("meta"):
            net = self.family.build(arch)
        named = (*net.named_parameters(), *net.named_buffers())
        return net, tuple((name, tensor.shape) for name, tensor in named)

    @property
    def _tensors(self) -> dict[str, Tensor]:
        return {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}

    def _cut_one(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        for ending, rule in self.family.rules.items():
            if name.endswith(ending):
                return rule(tensor, shape)
        if tensor.ndim == 4 and tensor.shape[-1] != shape[-1]:
            if not self._steps[name]:
                raise NetwrightError(f"{name}: no rule cuts a {tuple(tensor.shape)} tensor to {tuple(shape)}.")
            channels = leading(tensor, torch.Size((*shape[:2], *tensor.shape[2:])))
            return shrink_kernel(name, channels, shape[-1], self._steps[name], self.transforms)  # type: ignore[arg-type]
        return leading(tensor, shape)
