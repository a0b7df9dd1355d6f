"""Vision transformer pieces: patch embedding, pre-norm encoder layer, mean-pooling head.

ViT, Dosovitskiy et al. 2021, arXiv:2010.11929. The weights are laid out so that a leading cut is a narrower network:
leading embedding channels, leading heads, leading hidden units (as AutoFormer shares them, Chen et al. 2021, arXiv:2107.00651).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from netwright.nn.block import Block, Shape


@dataclass(frozen=True)
class PatchEmbed(Block):
    """Patches of `patch` x `patch` pixels to tokens, plus a table of positions made for `grid` x `grid` patches.

    For another number of patches the table is interpolated, so that one table serves every input size.
    """

    width: int
    patch: int
    grid: int

    def build(self) -> nn.Module:
        return PatchEmbedModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return (in_shape[1] // self.patch) * (in_shape[2] // self.patch), self.width

    def macs(self, in_shape: Shape) -> int:
        return self.out_shape(in_shape)[0] * self.width * 3 * self.patch**2


class PatchEmbedModule(nn.Module):
    """The network piece that `PatchEmbed` describes."""

    def __init__(self, spec: PatchEmbed):
        super().__init__()
        self.project = nn.Conv2d(3, spec.width, spec.patch, spec.patch)
        self.position = nn.Parameter(torch.empty(1, spec.width, spec.grid, spec.grid))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x_BDHW = self.project(x_BCHW)
        position_1DHW = self.position
        if x_BDHW.shape[2:] != position_1DHW.shape[2:]:
            size = list(x_BDHW.shape[2:])
            position_1DHW = functional.interpolate(position_1DHW, size, mode="bilinear", align_corners=False)
        return (x_BDHW + position_1DHW).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class EncoderLayer(Block):
    """Pre-norm self-attention and MLP, each with a residual connection. Heads are `head_width` wide."""

    width: int
    heads: int
    head_width: int
    hidden: int

    def build(self) -> nn.Module:
        return EncoderLayerModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape

    def macs(self, in_shape: Shape) -> int:
        tokens, inner = in_shape[0], self.heads * self.head_width
        return tokens * (4 * self.width * inner + 2 * tokens * inner + 2 * self.width * self.hidden)


class EncoderLayerModule(nn.Module):
    """The network piece that `EncoderLayer` describes; rows of query, key and value are ordered head by head."""

    def __init__(self, spec: EncoderLayer):
        super().__init__()
        self.head_width = spec.head_width
        inner = spec.heads * spec.head_width
        self.norm1 = nn.LayerNorm(spec.width)
        self.query = nn.Linear(spec.width, inner)
        self.key = nn.Linear(spec.width, inner)
        self.value = nn.Linear(spec.width, inner)
        self.out = nn.Linear(inner, spec.width)
        self.norm2 = nn.LayerNorm(spec.width)
        self.expand = nn.Linear(spec.width, spec.hidden)
        self.contract = nn.Linear(spec.hidden, spec.width)

    def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
        y_BND = self.norm1(x_BND)
        q_BHNK, k_BHNK, v_BHNK = (
            linear(y_BND).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        y_BHNK = functional.scaled_dot_product_attention(q_BHNK, k_BHNK, v_BHNK)
        x_BND = x_BND + self.out(y_BHNK.transpose(1, 2).flatten(2))
        return x_BND + self.contract(functional.gelu(self.expand(self.norm2(x_BND))))

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Put heads and hidden units in order of falling L1 norm of the weights that read them; the output stays."""
        importance = self.out.weight.abs().sum(0).view(-1, self.head_width).sum(1)
        first = importance.argsort(descending=True) * self.head_width
        heads = (first[:, None] + torch.arange(self.head_width, device=first.device)).flatten()
        units = self.contract.weight.abs().sum(0).argsort(descending=True)
        for linears, reader, order in (
            ((self.query, self.key, self.value), self.out, heads),
            ((self.expand,), self.contract, units),
        ):
            for linear in linears:
                linear.weight.copy_(linear.weight[order])
                linear.bias.copy_(linear.bias[order])
            reader.weight.copy_(reader.weight[:, order])


@dataclass(frozen=True)
class TokenHead(Block):
    """LayerNorm, mean over tokens, classifier."""

    width: int
    classes: int

    def build(self) -> nn.Module:
        return TokenHeadModule(self)

    def out_shape(self, in_shape: Shape) -> Shape:
        return (self.classes,)

    def macs(self, in_shape: Shape) -> int:
        return self.width * self.classes


class TokenHeadModule(nn.Module):
    """The network piece that `TokenHead` describes."""

    def __init__(self, spec: TokenHead):
        super().__init__()
        self.norm = nn.LayerNorm(spec.width)
        self.classifier = nn.Linear(spec.width, spec.classes)

    def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.norm(x_BND).mean(1))
