"""A block: the frozen description from which a piece of a network is built and priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.core.cache import bounded_cache
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import children_of

Shape = tuple[int, ...]
INPUT = "image"  # the name of the network's input, for blocks that read it


@dataclass(frozen=True)
class Block:
    """Base of all block descriptions. Subclasses add fields and `build`; the rest has exact defaults.

    A shape leaves out the batch: (C, H, W) for images and feature maps, (N, D) for tokens, (K,) for logits.
    Two equal blocks on the same input shapes cost the same, so they are measured and counted once.
    `repr` of a block names it in files. A block that reads several values takes their shapes in order.
    """

    @property
    def input_count(self) -> int:
        """How many values the block reads; a block that reads several says so here."""
        return 1

    def build(self) -> nn.Module:
        """Return the module, freshly initialised on the current default device."""
        raise TypeError(f"{type(self).__name__} must define build()")

    def out_shape(self, *in_shapes: Shape) -> Shape:
        """Return the output shape for the input shapes (default: run on the meta device)."""
        return _run_on_meta(self, in_shapes)[0]

    def macs(self, *in_shapes: Shape) -> int:
        """Return the multiply-accumulates of convolutions, linear layers and matrix products, batch 1.

        The default counts them by running on the meta device; closed forms in subclasses are tested equal.
        """
        return _run_on_meta(self, in_shapes)[1]

    def params(self) -> int:
        """Return the number of parameters."""
        return _params(self)


@dataclass(frozen=True)
class Reads:
    """A block that reads values by name: the outputs of earlier blocks, or the network's input (`INPUT`).

    A block without it reads the one before; the first block reads the network's input.

    Raises:
        NetwrightError: `from_` is no tuple of names.
    """

    block: Block
    from_: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.from_, tuple) or not self.from_ or not all(isinstance(name, str) for name in self.from_):
            raise NetwrightError(
                f"Reads({type(self.block).__name__}, from_={self.from_!r}): from_ takes a tuple of the names of blocks, "
                f'such as ("stage2", "stage4"), or {INPUT!r}, the network\'s input.'
            )


def divisible(value: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of `divisor`, never down by more than 10 % (MobileNetV2, arXiv:1801.04381)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def named(block: Block, *later: str) -> str:
    """Return the `repr` of a block without those of the fields `later` that hold their defaults.

    Fields that a kind of block got later are left out, so that files name the block as they did before.
    """
    shown = [
        f"{field.name}={getattr(block, field.name)!r}"
        for field in fields(block)
        if field.name not in later or getattr(block, field.name) != field.default
    ]
    return f"{type(block).__qualname__}({', '.join(shown)})"


def conv_out(size: int, stride: int) -> int:
    """Return the output size of a convolution with odd kernel k and padding k // 2."""
    return (size - 1) // stride + 1


def chain(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    """Chain modules in order as nested nn.Sequential: the name `stage1.0` is child 0 of child stage1."""
    root = nn.Sequential()
    add_nested(root, modules)
    return root


def add_nested(root: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Add modules to a root under their names, with an nn.Sequential for every dot in a name."""
    for name, module in modules.items():
        *parents, leaf = name.split(".")
        where = root
        for parent in parents:
            if parent not in children_of(where):
                where.add_module(parent, nn.Sequential())
            where = where.get_submodule(parent)
        where.add_module(leaf, module)


@bounded_cache(32)
def _run_on_meta(block: Block, in_shapes: tuple[Shape, ...]) -> tuple[Shape, int]:
    with torch.device("meta"), torch.no_grad():
        module = block.build().eval()
        with FlopCounterMode(display=False) as counter:
            out = module(*(torch.empty(1, *shape) for shape in in_shapes))
    return tuple(out.shape[1:]), counter.get_total_flops() // 2


@bounded_cache(32)
def _params(block: Block) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in block.build().parameters())
