"""Modules of one operation each with their multiply-accumulates worked out by hand; the benchmark reads them too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]


class Call(nn.Module):
    """A module or function called on inputs scaled by a parameter, so that a backward pass reaches the inputs."""

    def __init__(self, inner: Callable[..., Tensor], count: int):
        super().__init__()
        self.inner = inner
        self.scales = nn.Parameter(torch.ones(count))

    def forward(self, *inputs: Tensor) -> Tensor:
        out = self.inner(*(x * scale for x, scale in zip(inputs, self.scales, strict=True)))
        return out[0] if isinstance(out, tuple) else out


@dataclass(frozen=True)
class Case:
    """`backward` is twice `forward` where it is None: a gradient for each factor of every product."""

    name: str
    inner: Callable[[], Callable[..., Tensor]]
    shapes: tuple[Shape, ...]
    forward: int
    backward: int | None = None

    def module(self) -> Call:
        return Call(self.inner(), len(self.shapes))

    def inputs(self) -> list[Tensor]:
        return [torch.empty(shape) for shape in self.shapes]

    @property
    def expected_backward(self) -> int:
        return 2 * self.forward if self.backward is None else self.backward


class SelfAttention(nn.MultiheadAttention):
    def __init__(self, need_weights: bool = True):
        super().__init__(32, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, x, x, need_weights=self.need_weights)[0]


def _unfused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


def _einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bhqk,bhkv->bhqv", torch.einsum("bhqe,bhke->bhqk", q, k).softmax(-1), v)


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _grouped_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _relu_linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """EfficientViT's attention: keys meet values first."""
    return q.relu() @ (k.relu().transpose(-2, -1) @ v)


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(6, 2, 3, 3))
        self.matrix = nn.Parameter(torch.empty(7, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.conv2d(x, self.kernel, groups=2, padding=1).mean((2, 3)), self.matrix)


_QKV = ((2, 4, 10, 16), (2, 4, 12, 16), (2, 4, 12, 16))
_SCORES = 2 * 4 * 10 * 12  # batch, heads, queries, keys
_MHA = 2 * 9 * 32 * 32 * 4 + 2 * 4 * 9 * 9 * (8 + 8)  # four projections, scores and values in heads of 8

CASES = (
    Case("conv1d", lambda: nn.Conv1d(4, 6, 5), ((2, 4, 20),), 2 * 6 * 16 * 4 * 5),
    Case("conv2d", lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), ((2, 3, 16, 16),), 2 * 8 * 8 * 8 * 3 * 9),
    Case("conv2d dilated", lambda: nn.Conv2d(3, 8, 3, dilation=2), ((2, 3, 16, 16),), 2 * 8 * 12 * 12 * 3 * 9),
    Case("conv2d grouped", lambda: nn.Conv2d(12, 8, 3, groups=4), ((2, 12, 9, 9),), 2 * 8 * 7 * 7 * 3 * 9),
    Case("conv2d depthwise", lambda: nn.Conv2d(32, 32, 5, groups=32), ((2, 32, 9, 9),), 2 * 32 * 5 * 5 * 25),
    Case("conv3d", lambda: nn.Conv3d(2, 4, 3), ((1, 2, 5, 6, 7),), 4 * 3 * 4 * 5 * 2 * 27),
    Case("conv2d unbatched", lambda: nn.Conv2d(3, 8, 3), ((3, 9, 9),), 8 * 7 * 7 * 3 * 9),
    Case("transposed conv", lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), ((2, 6, 5, 5),), 2 * 6 * 25 * 4 * 9),
    Case(
        "transposed conv grouped",
        lambda: nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1, groups=4),
        ((2, 8, 5, 5),),
        2 * 8 * 25 * 3 * 16,
    ),
    Case("linear", lambda: nn.Linear(20, 30), ((4, 7, 20),), 4 * 7 * 20 * 30),
    Case("linear without bias", lambda: nn.Linear(20, 30, bias=False), ((4, 20),), 4 * 20 * 30),
    Case("bilinear", lambda: nn.Bilinear(5, 6, 7), ((3, 5), (3, 6)), 3 * 7 * 5 * 6, 3 * 3 * 7 * 5 * 6),
    Case("@ of matrices", lambda: torch.matmul, ((5, 6), (6, 7)), 5 * 6 * 7),
    Case("@ of batches", lambda: torch.matmul, ((3, 2, 5, 6), (3, 2, 6, 7)), 6 * 5 * 6 * 7),
    Case("@ broadcast", lambda: torch.matmul, ((3, 2, 5, 6), (6, 7)), 6 * 5 * 6 * 7),
    # The gradient of a vector's factor is an outer product or a scaling, which torch runs elementwise.
    Case("@ of vectors", lambda: torch.matmul, ((9,), (9,)), 9, 0),
    Case("matrix @ vector", lambda: torch.matmul, ((5, 9), (9,)), 45, 45),
    Case("baddbmm", lambda: torch.baddbmm, ((3, 5, 7), (3, 5, 6), (3, 6, 7)), 3 * 5 * 6 * 7),
    Case("einsum", lambda: lambda a, b: torch.einsum("bij,kj->bik", a, b), ((2, 5, 6), (7, 6)), 2 * 5 * 7 * 6),
    Case("functional conv and linear", _Functional, ((2, 4, 8, 8),), 2 * 6 * 64 * 2 * 9 + 2 * 6 * 7),
    Case("attention fused", lambda: F.scaled_dot_product_attention, _QKV, _SCORES * 32),
    Case("attention fused causal", lambda: _causal, ((2, 4, 10, 16),) * 3, 2 * 4 * 10 * 10 * 32),
    Case("attention unfused", lambda: _unfused, _QKV, _SCORES * 32),
    Case("attention by einsum", lambda: _einsum, _QKV, _SCORES * 32),
    Case("grouped-query attention", lambda: _grouped_query, (_QKV[0], (2, 2, 12, 16), (2, 2, 12, 16)), _SCORES * 32),
    Case("ReLU linear attention", lambda: _relu_linear, _QKV, 8 * (12 * 16 * 16 + 10 * 16 * 16)),
    Case("MultiheadAttention", SelfAttention, ((2, 9, 32),), _MHA),
    Case("MultiheadAttention lean", lambda: SelfAttention(need_weights=False), ((2, 9, 32),), _MHA),
    Case(
        "TransformerEncoderLayer",
        lambda: nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True),
        ((2, 9, 32),),
        _MHA + 2 * 2 * 9 * 32 * 64,
    ),
    Case("LSTM", lambda: nn.LSTM(16, 24), ((5, 3, 16),), 5 * 3 * 4 * 24 * (16 + 24)),
    Case(
        "LSTM of two layers, both ways",
        lambda: nn.LSTM(16, 24, 2, bidirectional=True),
        ((5, 3, 16),),
        5 * 3 * 4 * 24 * 2 * ((16 + 24) + (48 + 24)),
    ),
    Case("LSTM cell", lambda: nn.LSTMCell(16, 24), ((3, 16),), 3 * 4 * 24 * (16 + 24), 2 * 3 * 4 * 24 * (16 + 12)),
    # The first state is a constant: it wants no gradient.
    Case(
        "GRU",
        lambda: nn.GRU(16, 24, batch_first=True),
        ((3, 5, 16),),
        5 * 3 * 3 * 24 * (16 + 24),
        2 * 5 * 3 * 3 * 24 * (16 + 24) - 3 * 3 * 24 * 24,
    ),
)
