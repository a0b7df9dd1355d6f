"""Operations of torch that take functions: torch.cond and flex_attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import TorchDispatchMode, flop_formula, tree_iter

# Tensors among the arguments of attention with a function of the scores, in order; the others are functions and masks.
# It has no backward pass on a CPU, which torch says itself.
ATTENTION = {"flex_attention": ("query", "key", "value")}
# What such an operation can be replaced by where it is not known.
_INSTEAD = {
    "while_loop": "How often it runs is known to the data alone: capture its body by itself.",
    "scan": "Write it as a loop of Python.",
    "associative_scan": "Write it as a loop of Python.",
    "map_impl": "Write it as a loop of Python.",
    "switch": "Write it with torch.cond, or capture each branch by itself.",
}


def attention_note(name: str, place: str) -> str:
    """Say what is not in the price of attention with a function of the scores."""
    return (
        f"{name} in {place}: counted are all products of queries and keys; neither what "
        "its mask leaves out nor its function of the scores is known"
    )


def branch_note(place: str) -> str:
    """Say which branch of torch.cond is counted."""
    return f"torch.cond in {place}: a value decides which of its two branches runs; the larger one is counted"


def refusal(name: str, place: str, *, training: bool = False) -> NetwrightError:
    """Return the error for an operation that takes functions and is not known, or not where gradients are wanted."""
    if name == "cond" and training:
        return NetwrightError(
            f"torch.cond in {place} can be captured for inference only: gradients of what its branches read are not "
            "seen. Leave --train out, or put the larger branch in its place."
        )
    advice = _INSTEAD.get(name, "Write it with operations on tensors, or give an ONNX file of the network.")
    return NetwrightError(
        f"torch's {name} in {place} runs functions that a capture does not see into; of its kind only torch.cond "
        f"and flex_attention are captured. {advice}"
    )


def larger(branches: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Callable[..., Any]:
    """Return the function that does most on the operands: by torch's count of products, then by elements made."""
    return max(branches, key=lambda branch: _size(branch, operands))


def _size(branch: Callable[..., Any], operands: Sequence[Any]) -> tuple[int, int]:
    with _Sizes() as sizes:
        branch(*operands)
    return sizes.flops, sizes.elements


class _Sizes(TorchDispatchMode):
    """Adds up torch's own counts of what runs."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_formula(func)
        self.flops += int(formula(*args, **kwargs, out_val=out)) if formula else 0
        self.elements += sum(value.numel() for value in tree_iter(out) if isinstance(value, Tensor))
        return out
