"""A module as torch.export's graph, brought to the few forms that integers are made from.

Normalization, scaling by constants and hard sigmoids disappear into the convolution or linear layer before them; where
there is none, they become a depthwise 1x1 convolution. What computes nothing in evaluation is taken out.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.fx import GraphModule, Node

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import schema_of

aten = torch.ops.aten
PRODUCTS = {"conv2d", "linear", "conv_transpose2d"}
_IDLE = {  # where they keep the type
    *("dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "alias", "lift_fresh_copy"),
    *("type_as", "to", "_to_copy", "dropout_"),
}
_ASSERTIONS = {"_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"}


def kind(node: Any) -> str:
    """Return which of torch's operations a node is: "conv2d", "relu"; of other nodes, "getitem", "placeholder", ..."""
    if not isinstance(node, Node):
        return ""
    if node.op != "call_function":
        return node.op
    schema = getattr(node.target, "_schema", None)
    return schema.name.partition("::")[2] if schema is not None else getattr(node.target, "__name__", str(node.target))


def where(node: Node) -> str:
    """Return the path of the module that a node came from, else its name."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values() if isinstance(entry, tuple) and not entry[0].startswith("_empty")]
    return paths[-1] if paths and paths[-1] else node.name


def argument(node: Node, name: str, default: Any = None) -> Any:
    """Return an argument of a node by its name in the operation's schema, `default` where it is left out."""
    names = [entry.name for entry in schema_of(node.target).arguments]
    place = names.index(name)
    if place < len(node.args):
        return node.args[place]
    return node.kwargs.get(name, default)


def pair(value: Any) -> tuple[int, int]:
    """Return an option that may be given once for both directions as (vertical, horizontal)."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(values[0]), int(values[-1]))


def constant(graph_module: GraphModule, value: Any) -> Tensor | None:
    """Return the tensor that a node stands for if it is a parameter or buffer, else None."""
    if not isinstance(value, Node) or value.op != "get_attr":
        return None
    found: Any = graph_module
    for part in str(value.target).split("."):
        found = getattr(found, part)
    return found.detach()


def takes_any_batch(graph_module: GraphModule) -> bool:
    """Whether an exported graph runs on any number of images; some modules fix the number they were exported with."""
    sides = [node.meta["val"].shape[0] for node in graph_module.graph.nodes if node.op == "placeholder"]
    return all(not isinstance(side, int) and side.node.maybe_as_int() is None for side in sides)


def export(module: nn.Module, example: tuple[Tensor, ...]) -> GraphModule:
    """Return a copy of a module in evaluation mode as a graph, for any batch size where the module allows it.

    Raises:
        NetwrightError: torch.export does not take the module, for the reason given; a weight is NaN or infinite.
    """
    module = copy.deepcopy(module).eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NetwrightError(
                f"{name} of {type(module).__name__} holds NaN or infinity, for which there are no integers."
            )
    doubled = tuple(torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor for tensor in example)
    logger = logging.getLogger("torch.export")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        free = tuple({0: Dim.AUTO} for _ in doubled)
        exported = torch.export.export(module, doubled, dynamic_shapes=free).module(check_guards=False)
    except Exception as error:
        raise NetwrightError(
            f"{type(module).__name__} cannot be exported, which quantizing needs: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}. Replace what depends on values or on the batch size."
        ) from error
    finally:
        logger.setLevel(level)
    tidy(exported)
    return exported


def tidy(graph_module: GraphModule) -> None:
    """Bring an exported graph to the forms that `annotate` and `fold` know, in place."""
    passes: Sequence[Callable[[GraphModule, Node], None]] = (_functional, _drop_idle, _plain_forms, _absorb)
    for step in passes:
        for node in list(graph_module.graph.nodes):
            if node.op == "call_function":
                step(graph_module, node)
        graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()


def _functional(_graph_module: GraphModule, node: Node) -> None:
    """Turn relu_ into relu: export has already made later readers read the result."""
    name = kind(node)
    if not name.endswith("_") or name.startswith("_") or name == "dropout_":
        return
    overload = str(node.target).rpartition(".")[2]
    node.target = getattr(getattr(aten, name[:-1]), overload)


def _drop_idle(graph_module: GraphModule, node: Node) -> None:
    if kind(node) in _IDLE and _dtype(node) == _dtype(node.args[0]):
        node.replace_all_uses_with(node.args[0])  # pyright: ignore[reportArgumentType]
        graph_module.graph.erase_node(node)
    elif kind(node) in _ASSERTIONS:
        graph_module.graph.erase_node(node)


def _dtype(node: Any) -> Any:
    return getattr(node.meta.get("val"), "dtype", None)


def _plain_forms(graph_module: GraphModule, node: Node) -> None:
    """Reduce ways of writing one thing: SiLU, clamps, division by a number, pooling, "same" padding, views."""
    name, graph = kind(node), graph_module.graph
    with graph.inserting_before(node):
        new = None
        if name == "silu":
            gate = _call(graph_module, node, aten.sigmoid.default, node.args[0])
            new = _call(graph_module, node, aten.mul.Tensor, node.args[0], gate)
        elif name in ("relu6", "clamp", "clamp_min", "hardtanh"):
            new = _clamp(graph_module, node, name)
        elif name == "div" and isinstance(node.args[1], (int, float)) and len(node.args) == 2:
            new = _call(graph_module, node, aten.mul.Tensor, node.args[0], 1 / node.args[1])
        elif name == "view":
            new = _call(graph_module, node, aten.reshape.default, *node.args)
        elif name == "adaptive_avg_pool2d" and pair(node.args[1]) == (1, 1):
            new = _call(graph_module, node, aten.mean.dim, node.args[0], [2, 3], True)
        elif name == "conv2d" and isinstance(argument(node, "padding"), str):
            new = _explicit_padding(graph_module, node)
    if new is not None:
        node.replace_all_uses_with(new)
        graph.erase_node(node)


def _call(graph_module: GraphModule, origin: Node, target: Any, *args: Any) -> Node:
    """Insert a node in place of another, with where that came from and a stand-in of its shape."""
    made = graph_module.graph.call_function(target, args)
    made.meta["nn_module_stack"] = origin.meta.get("nn_module_stack")
    made.meta["val"] = origin.meta.get("val")  # the same shape in every rewriting
    return made


def _clamp(graph_module: GraphModule, node: Node, name: str) -> Node | None:
    if name == "relu6":
        low, high = 0.0, 6.0
    elif name == "hardtanh":
        low, high = argument(node, "min_val", -1.0), argument(node, "max_val", 1.0)
    else:
        low, high = argument(node, "min"), argument(node, "max") if name == "clamp" else None
    if low == 0 and high is None:
        return _call(graph_module, node, aten.relu.default, node.args[0])
    if low is None or high is None or isinstance(low, Node) or isinstance(high, Node):
        return None
    if name == "hardtanh" and len(node.args) == 3:
        return None
    return _call(graph_module, node, aten.hardtanh.default, node.args[0], float(low), float(high))


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
        x, total = _call(graph_module, node, aten.pad.default, x, edges), [0, 0]
    half = [side // 2 for side in total]
    settings = (list(pair(stride)), half, list(pair(dilation)), groups)
    return _call(graph_module, node, aten.conv2d.default, x, weight, bias, *settings)


def _absorb(graph_module: GraphModule, node: Node) -> None:
    """Carry out y = x * scale + shift per channel in the layer that makes x, or in a depthwise 1x1 convolution."""
    affine = _affine(graph_module, node)
    if affine is None:
        return
    scale, shift, source, necessary = affine
    product = source if kind(source) in PRODUCTS and len(source.users) == 1 else None
    if product is None:
        if not necessary or len(source.meta["val"].shape) != 4:
            return
        product = _identity(graph_module, node, source)
    scale_layer(graph_module, product, scale, shift)
    if kind(node) == "hardsigmoid":
        with graph_module.graph.inserting_before(node):
            result = _call(graph_module, node, aten.hardtanh.default, product, 0.0, 1.0)
    else:
        result = product
    node.replace_all_uses_with(result)
    graph_module.graph.erase_node(node)


def _affine(graph_module: GraphModule, node: Node) -> tuple[Any, Any, Node, bool] | None:
    """Return scale, shift (numbers or one a channel), what they apply to, and whether it must be made a layer."""
    name = kind(node)
    if name in ("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"):
        weight, bias, mean, variance = (constant(graph_module, value) for value in node.args[1:5])
        if mean is None or variance is None:
            return None
        scale = (variance + argument(node, "eps", 1e-5)).rsqrt() * (1 if weight is None else weight)
        return scale, (0 if bias is None else bias) - mean * scale, node.args[0], True  # pyright: ignore[reportReturnType]
    if name == "hardsigmoid":
        return 1 / 6, 0.5, node.args[0], True  # pyright: ignore[reportReturnType]
    if name not in ("mul", "add", "sub") or len(node.args) != 2 or node.kwargs:
        return None
    source, other = node.args
    if name != "sub" and not (isinstance(source, Node) and source.op != "get_attr"):
        source, other = other, source
    value = other if isinstance(other, (int, float)) else constant(graph_module, other)
    if value is None or not isinstance(source, Node) or source.op == "get_attr":
        return None
    if isinstance(value, Tensor):
        channels = source.meta["val"].shape[1]
        if value.numel() not in (1, channels) or (value.numel() > 1 and not _per_channel(value, source)):
            return None
        value = value.reshape(-1)
    if name == "mul":
        return value, 0.0, source, False
    return 1.0, value if name == "add" else -value, source, False


def _per_channel(value: Tensor, source: Node) -> bool:
    """Whether a constant has a value a channel, on the dimension on which a layer's output has its channels."""
    rank = len(source.meta["val"].shape)
    axis = rank - 1 if kind(source) == "linear" else 1
    shape = [1] * (rank - value.dim()) + list(value.shape)
    return len(shape) == rank and shape[axis] == value.numel()


def _identity(graph_module: GraphModule, node: Node, source: Node) -> Node:
    channels = source.meta["val"].shape[1]
    with graph_module.graph.inserting_before(node):
        weight = attribute(graph_module, f"{node.name}_weight", torch.ones(channels, 1, 1, 1))
        return _call(
            graph_module, node, aten.conv2d.default, source, weight, None, [1, 1], [0, 0], [1, 1], int(channels)
        )


def attribute(graph_module: GraphModule, name: str, value: Tensor) -> Node:
    """Add a parameter to the graph module and return a node that reads it, at the graph's point of insertion."""
    name = f"_nw_{name}"
    graph_module.register_parameter(name, nn.Parameter(value.detach().clone()))
    made = graph_module.graph.get_attr(name)
    made.meta["val"] = value
    return made


def scale_layer(graph_module: GraphModule, product: Node, scale: Any, shift: Any) -> None:
    """Let a convolution or linear layer compute scale * y + shift instead of y, per output channel."""
    weight = constant(graph_module, product.args[1])
    if weight is None:
        raise NetwrightError(f"{where(product)}: its weights are computed, and only constant weights become integers.")
    bias = constant(graph_module, argument(product, "bias"))
    groups = argument(product, "groups", 1) if kind(product) == "conv_transpose2d" else 1
    outputs = weight.shape[1] * groups if kind(product) == "conv_transpose2d" else weight.shape[0]
    scales = torch.as_tensor(scale, dtype=weight.dtype).expand(outputs)
    shifts = torch.as_tensor(shift, dtype=weight.dtype).expand(outputs)
    if kind(product) == "conv_transpose2d":
        per_input = scales.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        new_weight = weight * per_input.reshape(weight.shape[0], -1)[:, :, None, None]
    else:
        new_weight = weight * scales.reshape(-1, *[1] * (weight.dim() - 1))
    new_bias = shifts if bias is None else bias * scales + shifts
    replace_weights(graph_module, product, new_weight, new_bias)


def replace_weights(graph_module: GraphModule, product: Node, weight: Tensor | None, bias: Tensor | None) -> None:
    """Give a layer tensors of its own, as others may read the ones it had; without `weight`, only a bias."""
    nodes: list[Any] = [product.args[1], None]
    with graph_module.graph.inserting_before(product):
        if weight is not None:
            nodes[0] = attribute(graph_module, f"{product.name}_weight", weight)
        if bias is not None:
            nodes[1] = attribute(graph_module, f"{product.name}_bias", bias)
    rest = list(product.args[3:]) if len(product.args) > 2 else []
    keywords = {name: value for name, value in product.kwargs.items() if name not in ("weight", "bias")}
    product.args = (product.all_input_nodes[0], *nodes, *rest)
    product.kwargs = keywords
