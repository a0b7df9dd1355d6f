"""Ways of writing one thing, reduced to the few that integers are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from netwright.compression.quantization.absorb import attribute, call
from netwright.compression.quantization.nodes import argument, constant, kind, pair, where
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import schema_of

aten = torch.ops.aten


def plain_forms(graph_module: GraphModule, node: Node) -> None:
    """Rewrite one operation in place, where it has a plainer form.

    Raises:
        NetwrightError: it resizes by a factor of which the output's sides are not the multiple.
    """
    name = kind(node)
    if name.startswith("upsample_"):
        _check_factors(node)
    if name not in _FORMS:
        return
    with graph_module.graph.inserting_before(node):
        new = _FORMS[name](graph_module, node)
    if new is not None:
        node.replace_all_uses_with(new)
        graph_module.graph.erase_node(node)


def _silu(graph_module: GraphModule, node: Node) -> Node:
    gate = call(graph_module, node, aten.sigmoid.default, node.args[0])
    return call(graph_module, node, aten.mul.Tensor, node.args[0], gate)


def _division(graph_module: GraphModule, node: Node) -> Node | None:
    """Division by a number or a constant, as a product."""
    divisor: Any = node.args[1]
    if len(node.args) != 2 or node.kwargs:
        return None
    if not isinstance(divisor, (int, float)):
        known = constant(graph_module, divisor)
        if known is None:
            return None
        return call(
            graph_module,
            node,
            aten.mul.Tensor,
            node.args[0],
            attribute(graph_module, f"{node.name}_inverse", known.reciprocal()),
        )
    return call(graph_module, node, aten.mul.Tensor, node.args[0], 1 / divisor)


def _view(graph_module: GraphModule, node: Node) -> Node | None:
    return call(graph_module, node, aten.reshape.default, *node.args) if _overload(node) == "default" else None


def _global_average(graph_module: GraphModule, node: Node) -> Node | None:
    if pair(node.args[1]) != (1, 1):
        return None
    return call(graph_module, node, aten.mean.dim, node.args[0], [-2, -1], True)


def _conv(graph_module: GraphModule, node: Node) -> Node | None:
    return _explicit_padding(graph_module, node) if isinstance(argument(node, "padding"), str) else None


def _turned_difference(graph_module: GraphModule, node: Node) -> Node | None:
    """Write 1 - x as a difference of two values."""
    number = argument(node, "other")
    if argument(node, "alpha", 1) != 1 or not isinstance(number, (int, float)):
        return None
    one = attribute(graph_module, f"{node.name}_number", torch.tensor(float(number)))
    return call(graph_module, node, aten.sub.Tensor, one, node.args[0])


def _turned(graph_module: GraphModule, node: Node) -> Node:
    """Write .mT as a transposition."""
    return call(graph_module, node, aten.transpose.int, node.args[0], -2, -1)


def _swapped(graph_module: GraphModule, node: Node) -> Node:
    return call(graph_module, node, aten.transpose.int, *node.args)


def _stacked(graph_module: GraphModule, node: Node) -> Node:
    """Write stack as a concatenation of what has a dimension more."""
    parts: Any = node.args[0]
    rank = len(_value(node).shape)
    dim = argument(node, "dim", 0) % rank
    raised = []
    for part in parts:
        made = call(graph_module, node, aten.unsqueeze.default, part, dim)
        made.meta["val"] = _value(part).unsqueeze(dim)
        raised.append(made)
    return call(graph_module, node, aten.cat.default, raised, dim)


def _negative(graph_module: GraphModule, node: Node) -> Node:
    return call(graph_module, node, aten.mul.Tensor, node.args[0], -1.0)


def _least(graph_module: GraphModule, node: Node) -> Node:
    """Write the least as the greatest of what is negated."""
    turned = call(graph_module, node, aten.mul.Tensor, node.args[0], -1.0)
    turned.meta["val"] = _value(node.args[0])
    greatest = call(graph_module, node, aten.amax.default, turned, *node.args[1:])
    greatest.kwargs = node.kwargs
    return call(graph_module, node, aten.mul.Tensor, greatest, -1.0)


def _result(graph_module: GraphModule, node: Node) -> Node | None:
    """Take one of several results where the others are not used, or a part of an unbound dimension."""
    several: Any = node.args[0]
    number: Any = node.args[1]
    name = kind(several)
    if name == "unbind":
        return call(graph_module, node, aten.select.int, several.args[0], argument(several, "dim", 0), number)
    if number != 0 or any(user.args[1] != 0 for user in several.users):
        return None
    if name in ("max", "min") and _overload(several) == "dim":
        reduced = [argument(several, "dim")], argument(several, "keepdim", False)
        make = aten.amax.default if name == "max" else aten.amin.default
        made = call(graph_module, node, make, several.args[0], *reduced)
        return made if name == "max" else _with_plain_form(graph_module, made)
    if name == "max_pool2d_with_indices":
        made = call(graph_module, node, aten.max_pool2d.default, *several.args)
        made.kwargs = several.kwargs
        return made
    if name == "adaptive_max_pool2d":
        return _adaptive_max(graph_module, node, several)
    return None


def _with_plain_form(graph_module: GraphModule, node: Node) -> Node:
    made = _FORMS[kind(node)](graph_module, node)
    graph_module.graph.erase_node(node)
    return made or node


def _adaptive_max(graph_module: GraphModule, node: Node, several: Node) -> Node | None:
    """Write adaptive pooling as pooling with one window, where the sides divide."""
    source: Any = several.args[0]
    outputs = pair(argument(several, "output_size"))
    if outputs == (1, 1):
        return call(graph_module, node, aten.amax.default, source, [-2, -1], True)
    sides = _value(source).shape[-2:]
    if any(side % out for side, out in zip(sides, outputs, strict=True)):
        return None
    window = [int(side // out) for side, out in zip(sides, outputs, strict=True)]
    return call(graph_module, node, aten.max_pool2d.default, source, window)


def _value(node: Any) -> Any:
    """Return the stand-in for what a node makes, which has its shape."""
    return node.meta["val"]


def _overload(node: Node) -> str:
    return schema_of(node.target).overload_name or "default"


def _check_factors(node: Node) -> None:
    """Refuse a factor under which pixels are spaced other than by the ratio of the sides, as integers have them."""
    names = {entry.name for entry in schema_of(node.target).arguments}
    given = [argument(node, name) for name in ("scales_h", "scales_w") if name in names]
    factors = argument(node, "scale_factors") if "scale_factors" in names else given
    if argument(node, "align_corners") if "align_corners" in names else False:
        return  # there the corners decide
    sides, outputs = _value(node.args[0]).shape[2:], _value(node).shape[2:]
    for side, out, factor in zip(sides, outputs, factors or (), strict=False):
        if factor is not None and side * factor != out:
            raise NetwrightError(
                f"{where(node)}: {kind(node)} by {factor} of {side} pixels gives {out}, spaced by {1 / factor:g} and not by "
                f"{side}/{out}, which has no integer form here. Resize to a size (size=...), or with "
                "recompute_scale_factor=True, also where the network is trained."
            )


def _clamp(graph_module: GraphModule, node: Node) -> Node | None:
    name = kind(node)
    if name == "relu6":
        low, high = 0.0, 6.0
    elif name == "hardtanh":
        low, high = argument(node, "min_val", -1.0), argument(node, "max_val", 1.0)
    else:
        low, high = argument(node, "min"), argument(node, "max") if name == "clamp" else None
    if low == 0 and high is None:
        return call(graph_module, node, aten.relu.default, node.args[0])
    if low is None or high is None or isinstance(low, Node) or isinstance(high, Node):
        return None
    if name == "hardtanh" and len(node.args) == 3:
        return None
    return call(graph_module, node, aten.hardtanh.default, node.args[0], float(low), float(high))


def _explicit_padding(graph_module: GraphModule, node: Node) -> Node:
    """Write "same" and "valid" as numbers; what is odd goes to the bottom and the right, as torch does."""
    x, weight, bias, stride, padding, dilation, groups = (
        argument(node, name, default)
        for name, default in (
            *(("input", None), ("weight", None), ("bias", None), ("stride", 1)),
            *(("padding", "valid"), ("dilation", 1), ("groups", 1)),
        )
    )
    sides = weight.meta["val"].shape[2:]
    total = [step * (side - 1) if padding == "same" else 0 for side, step in zip(sides, pair(dilation), strict=True)]
    if any(side % 2 for side in total):
        edges = [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
        x, total = call(graph_module, node, aten.pad.default, x, edges), [0, 0]
    half = [side // 2 for side in total]
    settings = (list(pair(stride)), half, list(pair(dilation)), groups)
    return call(graph_module, node, aten.conv2d.default, x, weight, bias, *settings)


_FORMS: dict[str, Callable[[GraphModule, Node], Node | None]] = {
    "adaptive_avg_pool2d": _global_average,
    "amin": _least,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "conv2d": _conv,
    "div": _division,
    "getitem": _result,
    "hardtanh": _clamp,
    "mT": _turned,
    "neg": _negative,
    "relu6": _clamp,
    "rsub": _turned_difference,
    "silu": _silu,
    "stack": _stacked,
    "swapaxes": _swapped,
    "swapdims": _swapped,
    "view": _view,
}
