"""Which of torch's operations become integers, and what of their arguments is read: all else is refused by name.

An argument is either read, so that every value that passes here has its effect on the integers, or it must have a value
under which it has no effect. What is not in the table has no integer form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from netwright.compression.quantization.nodes import argument, kind, where
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import schema_of


@dataclass(frozen=True)
class Taken:
    """How an operation is taken.

    Attributes:
        overloads: those of its forms that are.
        read: arguments that the integers follow.
        only: the others: values under which they change nothing.
    """

    overloads: tuple[str, ...]
    read: tuple[str, ...]
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


_DTYPE = {"dtype": (None, torch.float32)}
_SUM = Taken(("Tensor", "Scalar"), ("self", "other"), {"alpha": (1,)})
_ONE = Taken(("default",), ("self",))
_WINDOW = ("self", "kernel_size", "stride", "padding", "ceil_mode")

SPLITS: dict[str, Taken] = {
    "chunk": Taken(("default",), ("self", "chunks", "dim")),
    "split": Taken(("Tensor", "sizes"), ("self", "split_size", "dim")),
    "split_with_sizes": Taken(("default",), ("self", "split_sizes", "dim")),
    "tensor_split": Taken(("sections", "indices"), ("self", "sections", "indices", "dim")),
    "unsafe_chunk": Taken(("default",), ("self", "chunks", "dim")),
    "unsafe_split": Taken(("Tensor",), ("self", "split_size", "dim")),
    "unsafe_split_with_sizes": Taken(("default",), ("self", "split_sizes", "dim")),
}
PRODUCTS: dict[str, Taken] = {
    "conv2d": Taken(("default",), ("input", "weight", "bias", "stride", "padding", "dilation", "groups")),
    "conv_transpose2d": Taken(
        ("input",),
        ("input", "weight", "bias", "stride", "padding", "output_padding"),
        {"groups": (1,), "dilation": (1,)},
    ),
    "linear": Taken(("default",), ("input", "weight", "bias")),
}
SUMS: dict[str, Taken] = {"add": _SUM, "sub": _SUM, "mul": Taken(("Tensor", "Scalar"), ("self", "other"))}
CLAMPS: dict[str, Taken] = {"relu": _ONE, "hardtanh": Taken(("default",), ("self", "min_val", "max_val"))}
MOVES: dict[str, Taken] = {  # what they return holds values of what they read, or means of them
    "adaptive_avg_pool2d": Taken(("default",), ("self", "output_size")),
    "amax": Taken(("default",), ("self", "dim", "keepdim")),
    "avg_pool2d": Taken(("default",), (*_WINDOW, "count_include_pad"), {"divisor_override": (None,)}),
    "cat": Taken(("default",), ("tensors", "dim")),
    "flatten": Taken(("using_ints",), ("self", "start_dim", "end_dim")),
    "max_pool2d": Taken(("default",), _WINDOW, {"dilation": (1,)}),
    "pad": Taken(("default",), ("self", "pad", "value"), {"mode": ("constant",)}),
    "permute": Taken(("default",), ("self", "dims")),
    "reshape": Taken(("default",), ("self", "shape")),
    "select": Taken(("int",), ("self", "dim", "index")),
    "slice": Taken(("Tensor",), ("self", "dim", "start", "end", "step")),
    "squeeze": Taken(("default", "dim", "dims"), ("self", "dim")),
    "transpose": Taken(("int",), ("self", "dim0", "dim1")),
    "unsqueeze": Taken(("default",), ("self", "dim")),
    "upsample_bilinear2d": Taken(
        ("vec", "default"), ("input", "self", "output_size", "align_corners", "scale_factors", "scales_h", "scales_w")
    ),
    "upsample_nearest2d": Taken(
        ("vec", "default"), ("input", "self", "output_size", "scale_factors", "scales_h", "scales_w")
    ),
}
FUNCTIONS: dict[str, Taken] = {
    "bmm": Taken(("default",), ("self", "mat2")),
    "hardswish": _ONE,
    "leaky_relu": Taken(("default",), ("self", "negative_slope")),
    "matmul": Taken(("default",), ("self", "other")),
    "mean": Taken(("dim",), ("self", "dim", "keepdim"), _DTYPE),
    "prelu": Taken(("default",), ("self", "weight")),
    "sigmoid": _ONE,
    "softmax": Taken(("int",), ("self", "dim"), _DTYPE),
    "tanh": _ONE,
}
TAKEN: dict[str, Taken] = {**SPLITS, **PRODUCTS, **SUMS, **CLAMPS, **MOVES, **FUNCTIONS}

_ARGMAX = "only the greatest values themselves have, x.max(dim).values or x.amax(dim). Leave its indices unused."
ADVICE: dict[str, str] = {  # beyond: replace it, or compute it outside
    "adaptive_max_pool2d": "Its values have where the windows are equal: choose sides that divide, and leave its indices unused.",
    "aminmax": "Use x.amin(dim) and x.amax(dim).",
    "max": f"Of it, {_ARGMAX}",
    "max_pool2d_with_indices": "Its values have: leave its indices unused.",
    "min": "Of it, only the least values themselves have, x.min(dim).values or x.amin(dim). Leave its indices unused.",
    "sort": "Leave sorting to the code that reads the network's outputs.",
    "topk": "Leave choosing to the code that reads the network's outputs.",
    "_upsample_bilinear2d_aa": "Resize without antialias.",
}


def makes_tensors(node: Node) -> bool:
    """Whether a node makes a tensor, or several: sizes are numbers."""
    value = node.meta.get("val")
    return any(isinstance(part, torch.Tensor) for part in (value if isinstance(value, (list, tuple)) else [value]))


def check(node: Node) -> None:
    """Refuse an operation, one of its forms or an argument that has no effect on the integers.

    Raises:
        NetwrightError: it is refused; it says which, where and what to do.
    """
    name = kind(node)
    if name == "getitem":
        source: Any = node.args[0]
        if kind(source) not in SPLITS:
            raise unknown_operation(source if isinstance(source, Node) else node)
        return
    taken = TAKEN.get(name)
    if taken is None:
        raise unknown_operation(node)
    schema = schema_of(node.target)
    overload = schema.overload_name or "default"
    if overload not in taken.overloads:
        raise NetwrightError(
            f"{where(node)}: the operation {name} in the form {name}.{overload} has no integer form here; "
            f"{', '.join(f'{name}.{known}' for known in taken.overloads)} has. Write it with these arguments: "
            f"{', '.join(taken.read)}."
        )
    for entry in schema.arguments:
        if entry.name in taken.read:
            continue
        value, allowed = argument(node, entry.name, entry.default_value), taken.only.get(entry.name, ())
        if not any(_is(value, one) for one in allowed):
            allowed_words = " or ".join(str(one) for one in allowed)
            raise NetwrightError(
                f"{where(node)}: {name} with {entry.name} {value} has no integer form here. Use {entry.name}={allowed_words}."
            )
    if name in ("amax", "mean", "softmax"):
        _check_dimensions(node)


def _check_dimensions(node: Node) -> None:
    source: Any = node.args[0]
    given, rank = argument(node, "dim"), max(1, len(source.meta["val"].shape))
    axes = [given] if isinstance(given, int) else list(given or ())
    if not axes or any(axis % rank == 0 for axis in axes):
        raise NetwrightError(
            f"{where(node)}: {kind(node)} over dimension 0, of the images themselves, has no integer form, which is of one "
            "image. State the other dimensions."
        )


def unknown_operation(node: Node) -> NetwrightError:
    """Return the error that refuses an operation by name."""
    name = kind(node)
    advice = (
        ADVICE.get(name) or "Replace it in the module, or leave it out and compute it outside the quantized network."
    )
    return NetwrightError(
        f"{where(node)}: the operation {name} has no integer form here. {advice} Known are: {', '.join(sorted(TAKEN))}."
    )


def _is(value: Any, one: Any) -> bool:
    """Whether an argument has a value, given once or for every direction."""
    if isinstance(value, (list, tuple)):
        return all(entry == one for entry in value)
    return type(value) in (type(one), int, float) and value == one
