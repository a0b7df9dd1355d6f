"""Low-rank adapters beside frozen layers: LoRA.

Hu et al. 2021, "LoRA: low-rank adaptation of large language models", arXiv:2106.09685: y = W x + B A x, without the paper's
constant factor; for convolutions A has the kernel and B is pointwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import convolve

RANK = 8


class LoraLinear(nn.Linear):
    """A linear layer with an adapter: x [..., in], A [rank, in], B [out, rank]."""

    lora_a: Tensor
    lora_b: Tensor

    def forward(self, input: Tensor) -> Tensor:
        low = F.linear(input, self.lora_a)
        return super().forward(input) + F.linear(low, self.lora_b)


class LoraConv2d(nn.Conv2d):
    """A convolution with an adapter: A has its kernel and stride, B is pointwise."""

    lora_a: Tensor
    lora_b: Tensor

    def forward(self, input: Tensor) -> Tensor:
        low = convolve(self, input, self.lora_a)
        return super().forward(input) + F.conv2d(low, self.lora_b)


def with_adapters(module: nn.Module, rank: int = RANK, *, besides: Iterable[str] = ()) -> nn.Module:
    """Return a copy on the meta device with adapters of a rank, except in the named submodules.

    Raises:
        NetwrightError: there is no linear layer or ungrouped convolution, or the rank is below 1.
    """
    if rank < 1:
        raise NetwrightError(f"The rank of the adapters is {rank}; it is 1 or more, {RANK} by default.")
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    memo: dict[int, object] = {}
    for tensor in tensors:
        empty = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    made = copy.deepcopy(module, memo)
    excluded = set(besides)
    count = 0
    for _, part in _adaptable(made, excluded):
        kind = part.weight.dtype
        if isinstance(part, nn.Conv2d):
            a_shape = (rank, part.in_channels, *part.kernel_size)
            b_shape = (part.out_channels, rank, 1, 1)
            part.__class__ = LoraConv2d
        else:
            a_shape, b_shape = (rank, part.in_features), (part.out_features, rank)
            part.__class__ = LoraLinear
        part.register_parameter("lora_a", nn.Parameter(torch.empty(a_shape, dtype=kind, device="meta")))
        part.register_parameter("lora_b", nn.Parameter(torch.empty(b_shape, dtype=kind, device="meta")))
        count += 1
    if not count:
        raise NetwrightError(
            f"{type(module).__name__} has no linear layer or ungrouped convolution that an adapter fits. "
            "Train it otherwise, for example in the mode full, last or bias."
        )
    return made


def _adaptable(module: nn.Module, excluded: set[str]) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Yield plain linear layers and convolutions: a subclass may use its weight in ways of its own."""
    for name, part in module.named_modules():
        if name in excluded:
            continue
        if type(part) is nn.Linear or (type(part) is nn.Conv2d and part.groups == 1):
            yield name, part


def adapters_of(module: nn.Module, excluded: set[str]) -> tuple[str, ...]:
    """Return the names that the parameters of the adapters have in the copy of `with_adapters`."""
    return tuple(f"{name}.{part}" for name, _ in _adaptable(module, excluded) for part in ("lora_a", "lora_b"))
