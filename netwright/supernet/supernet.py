"""One set of weights that serves every architecture of a space.

Once-for-all, Cai et al. 2020, arXiv:1908.09791. There are no elastic layers and no active sub-network: a static
network is built on the meta device, block by block, and called with tensors cut from the largest one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.cache import BoundedCache
from netwright.core.errors import NetwrightError
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.nn.block import Block
from netwright.nn.wiring import Wiring, connect, plain, wire
from netwright.supernet.calibrate import calibrate, has_batch_norm
from netwright.supernet.cut import kernel_name, kernel_steps, plan_cut
from netwright.supernet.pieces import Piece, Slot, build_piece

_PIECES_MB, _NETWORKS_MB = 256, 32
_NAME_BYTES = 200  # of a block's name and place in a network that is kept

Pieces = tuple[Wiring, dict[str, Piece]]


class Supernet(nn.Module):
    """The parameters of the largest network of a family, and kernel transform matrices.

    Calling it runs one arch: `supernet(x_BCHW, arch)`. Attributes: `family`; `net`, the largest network;
    `transforms`, one identity-initialised matrix a kernel step a depthwise weight (7 to 5: 25x25, 5 to 3: 9x9).
    Blocks that ran before are kept, without weights, up to 256 MB, and what archs consist of up to 32 MB.
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
        self._forget()

    def forward(self, x_BCHW: Tensor, arch: Arch) -> Tensor:
        """Run one arch in the supernet's mode (train or eval).

        Gradients flow back to the whole tensors, zero where the arch has no part; running statistics are updated in place.
        Archs share the modules they run in, so one supernet serves one thread at a time (processes have their own).

        Raises:
            NetwrightError: the arch is not in the family's space.
        """
        wiring, pieces = self._pieces_of(arch)
        if not wiring.is_chain:
            return wiring.run(pieces, x_BCHW)
        for piece in pieces.values():
            x_BCHW = piece(x_BCHW)
        return x_BCHW

    def cut(self, arch: Arch) -> dict[str, Tensor]:
        """Return the parameters and buffers of an arch by name, cut from the largest network's as views.

        Gradients flow back to the whole tensors; running statistics are updated in place.
        """
        return {slot.name: slot.weight() for piece in self._pieces_of(arch)[1].values() for slot in piece.slots}

    def extract(self, arch: Arch, calibration: Iterable[Tensor] | None) -> nn.Module:
        """Return the arch as a static network of its own, in eval mode: an nn.Sequential where its blocks are a chain.

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
    def copy_of(self, arch: Arch) -> nn.Module:
        """Return a static network with copies of the arch's weights and the shared statistics, uncalibrated."""
        wiring, pieces = self._pieces_of(arch)
        net = connect(wiring, {name: piece.copy() for name, piece in pieces.items()})
        net.training = self.training
        return net

    def sort_channels(self) -> None:
        """Order hidden channels by importance, before widths shrink; the largest network's output does not change."""
        for module in self.net.modules():
            sort = getattr(module, "sort_channels", None)
            if callable(sort):
                sort()

    def _pieces_of(self, arch: Arch) -> Pieces:
        found = self._networks.get(arch)
        if found is None:
            self.family.space.encode(arch)
            blocks = self.family.blocks(arch)
            found = wire(blocks), {name: self._piece(name, plain(given)) for name, given in blocks.items()}
            self._networks.put(arch, found)
        for piece in found[1].values():
            if piece.module.training != self.training:
                piece.module.train(self.training)
        return found

    def _piece(self, name: str, block: Block) -> Piece:
        found = self._pieces.get((name, block))
        if found is None:
            module = build_piece(block).train(self.training)
            found = Piece(module, self._slots(name, module))
            if self._pieces.put((name, block), found):
                self._networks.clear()  # they hold pieces that are no longer counted
        return found

    def _forget(self) -> None:
        self._pieces: BoundedCache[tuple[str, Block], Piece] = BoundedCache(_PIECES_MB, Piece.bytes)
        self._networks: BoundedCache[Arch, Pieces] = BoundedCache(_NETWORKS_MB, lambda one: _NAME_BYTES * len(one[1]))

    def _slots(self, block_name: str, module: nn.Module) -> list[Slot]:
        sources = dict(self.net.named_modules(remove_duplicate=False))
        slots = []
        for path, owner in module.named_modules(remove_duplicate=False):
            where = f"{block_name}.{path}" if path else block_name
            for kind in ("_parameters", "_buffers"):
                for key, tensor in getattr(owner, kind).items():
                    source = getattr(sources.get(where), kind, {})
                    if tensor is not None:
                        slots.append(self._slot(f"{where}.{key}", key, getattr(owner, kind), source))
        return slots

    def _slot(self, name: str, key: str, target: dict[str, Tensor], source: dict[str, Tensor]) -> Slot:
        if source.get(key) is None:
            raise NetwrightError(
                f"{name} is not in the largest network. blocks(arch) of a smaller arch must use names of the largest one, "
                "for blocks of the same class whose tensors have the same names."
            )
        shapes = source[key].shape, target[key].shape
        cut = plan_cut(name, *shapes, self.family.rules, self._steps.get(name, []), self.transforms)  # type: ignore[arg-type]
        return Slot(name, key, target, source, cut)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is only kept for speed, so that copies and other processes make their own."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_pieces", "_networks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()
