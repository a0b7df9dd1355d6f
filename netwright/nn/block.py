"""A block: the frozen description from which a piece of a network is built and priced."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.torch_internals import children_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Base of all block descriptions. Subclasses add fields and `build`; the rest has exact defaults.

    A shape leaves out the batch: (C, H, W) for images and feature maps, (N, D) for tokens, (K,) for logits.
    Two equal blocks on the same input shape cost the same, so they are measured and counted once.
    `repr` of a block names it in files.
    """

    def build(self) -> nn.Module:
        """Return the module, freshly initialised on the current default device."""
        raise TypeError(f"{type(self).__name__} must define build()")

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return the output shape for an input shape (default: run on the meta device)."""
        return _run_on_meta(self, in_shape)[0]

    def macs(self, in_shape: Shape) -> int:
        """Return the multiply-accumulates of convolutions, linear layers and matrix products, batch 1.

        The default counts them by running on the meta device; closed forms in subclasses are tested equal.
        """
        return _run_on_meta(self, in_shape)[1]

    def params(self) -> int:
        """Return the number of parameters."""
        return _params(self)


def divisible(value: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of `divisor`, never down by more than 10 % (MobileNetV2, arXiv:1801.04381)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def conv_out(size: int, stride: int) -> int:
    """Return the output size of a convolution with odd kernel k and padding k // 2."""
    return (size - 1) // stride + 1


def shapes(blocks: Mapping[str, Block], in_shape: Shape) -> dict[str, Shape]:
    """Return the input shape of every block of a chain that starts from `in_shape`."""
    result = {}
    for name, block in blocks.items():
        result[name] = in_shape
        in_shape = block.out_shape(in_shape)
    return result


def assemble(blocks: Mapping[str, Block]) -> nn.Sequential:
    """Build a chain of blocks as nested nn.Sequential: the name `stage1.0` is child 0 of child stage1."""
    return chain({name: block.build() for name, block in blocks.items()})


def chain(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    """Chain modules in order as nested nn.Sequential, one level for every dot in their names."""
    root = nn.Sequential()
    for name, module in modules.items():
        *parents, leaf = name.split(".")
        where = root
        for parent in parents:
            if parent not in children_of(where):
                where.add_module(parent, nn.Sequential())
            where = where.get_submodule(parent)
        where.add_module(leaf, module)
    return root


@functools.lru_cache(maxsize=100_000)
def _run_on_meta(block: Block, in_shape: Shape) -> tuple[Shape, int]:
    with torch.device("meta"), torch.no_grad():
        module = block.build().eval()
        with FlopCounterMode(display=False) as counter:
            out = module(torch.empty(1, *in_shape))
    return tuple(out.shape[1:]), counter.get_total_flops() // 2


@functools.lru_cache(maxsize=100_000)
def _params(block: Block) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in block.build().parameters())
