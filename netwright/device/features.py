"""What a block does, counted by kind of operation: the features that latency models are fitted on."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from netwright.core.cache import bounded_cache
from netwright.nn.block import Block, Shape


def block_key(block: Block, *in_shapes: Shape) -> str:
    """Return the name of a block on its input shapes in files."""
    return f"{block!r} @ {', '.join('x'.join(map(str, shape)) for shape in in_shapes)}"


@bounded_cache(64, size=lambda found: 1024 + 150 * len(found))
def features(block: Block, *in_shapes: Shape) -> dict[str, float]:
    """Return counts of calls, multiply-accumulates (millions) and elements read and written (millions), batch 1.

    Kinds are the operations that run, found by running the block on the meta device: any family's blocks have
    them. Convolutions are told apart by kernel size and by whether they are grouped: `conv1.macs`, `conv5g.calls`.
    """
    with torch.device("meta"), torch.no_grad():
        module, inputs = block.build().eval(), [torch.empty(1, *shape) for shape in in_shapes]
        with _Counter() as counter:
            out = module(*inputs)
    given = sum(map(_millions, in_shapes))
    totals = {f"block.{type(block).__name__}": 1.0, "block.in": given, "block.out": _millions(out.shape)}
    totals["block.params"] = block.params() / 1e6
    for name, value in counter.totals.items():
        totals[name] = totals.get(name, 0.0) + value
    return totals


def _millions(shape: Shape) -> float:
    return torch.Size(shape).numel() / 1e6


class _Counter(TorchDispatchMode):
    """Adds up what every operation does that makes a new tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: dict[str, float] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        listed = [one for value in args for one in (value if isinstance(value, list | tuple) else (value,))]
        tensors = [value for value in listed if isinstance(value, torch.Tensor)]
        if tensors and isinstance(out, torch.Tensor) and not func.is_view and "empty" not in func._opname:
            kind = _kind(func, args)
            count = flop_registry.get(func._overloadpacket)
            moved = sum(_millions(tensor.shape) for tensor in (*tensors, out))
            for name, value in (
                (f"{kind}.calls", 1.0),
                (f"{kind}.moved", moved),
                (f"{kind}.macs", count(*args, **(kwargs or {}), out_val=out) / 2e6 if count else 0.0),
            ):
                self.totals[name] = self.totals.get(name, 0.0) + value
        return out


def _kind(func: Any, args: Any) -> str:
    name = func._opname.strip("_")
    if "convolution" not in name:
        return name
    grouped = "g" if args[1].shape[1] < args[0].shape[1] else ""
    return f"conv{args[1].shape[-1]}{grouped}"
