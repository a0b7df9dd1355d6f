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
from torch.fx.node import map_arg

from netwright.compression.quantization.absorb import absorb, attribute
from netwright.compression.quantization.nodes import constant, kind, where
from netwright.compression.quantization.operations import check, makes_tensors
from netwright.compression.quantization.plain import plain_forms
from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import is_operation

aten = torch.ops.aten
_IDLE = {  # where they keep the type
    *("dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "alias", "lift_fresh_copy"),
    *("type_as", "to", "_to_copy", "dropout_"),
}
_ASSERTIONS = {"_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"}


def takes_any_batch(graph_module: GraphModule) -> bool:
    """Whether an exported graph runs on any number of images; some modules fix the number they were exported with."""
    sides = [node.meta["val"].shape[0] for node in graph_module.graph.nodes if node.op == "placeholder"]
    return all(not isinstance(side, int) and side.node.maybe_as_int() is None for side in sides)


def export(module: nn.Module, example: tuple[Tensor, ...]) -> GraphModule:
    """Return a copy of a module in evaluation mode as a graph, for any batch size where the module allows it.

    Raises:
        NetwrightError: torch.export does not take the module, for the reason given; a weight is NaN or infinite;
            an operation, or an argument of one, has no integer form.
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
    for (
        node
    ) in exported.graph.nodes:  # before others rewrite the graph: torchao folds normalization by the batch as well
        if node.op == "call_function" and makes_tensors(node):
            check(node)
    return exported


def tidy(graph_module: GraphModule) -> None:
    """Bring an exported graph to the forms that `annotate` and `fold` know, in place.

    Raises:
        NetwrightError: it changes a tensor in place that is read under another name, or resizes as no integers do.
    """
    passes: Sequence[Callable[[GraphModule, Node], None]] = (_functional, _drop_idle, plain_forms, absorb)
    for step in passes:
        for node in list(graph_module.graph.nodes):
            if node.op == "call_function":
                step(graph_module, node)
        graph_module.graph.eliminate_dead_code()
        if step is _drop_idle:
            _compute_constants(graph_module)
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()


def _functional(_graph_module: GraphModule, node: Node) -> None:
    """Turn relu_ into relu: export has already made later readers read the result."""
    name = kind(node)
    if not name.endswith("_") or name.startswith("_") or name == "dropout_":
        return
    if _is_read_otherwise(node):
        raise NetwrightError(
            f"{where(node)}: {name} changes a tensor in place that is read under another name too, which integers do not "
            f"follow. Write what {name[:-1]} returns into a tensor of its own (x = x.{name[:-1]}(...), torch.cat of the parts)."
        )
    overload = str(node.target).rpartition(".")[2]
    node.target = getattr(getattr(aten, name[:-1]), overload)


def _is_read_otherwise(node: Node) -> bool:
    """Whether what an operation changes in place is read after it, through the tensor it is a view of or another view."""
    root: Any = node.args[0]
    while _is_view(root):
        root = root.args[0]
    if not isinstance(root, Node):
        return False
    if root.op == "get_attr":
        return True
    shared, found = [root], {root}
    for one in shared:
        new = [user for user in one.users if user is not node and user not in found and _is_view(user)]
        shared += new
        found.update(new)
    return any(user > node for one in shared for user in one.users)


def _is_view(node: Any) -> bool:
    """Whether a node's result shares the memory of what it reads."""
    if not isinstance(node, Node) or node.op != "call_function":
        return False
    if kind(node) in _IDLE:
        return True
    if kind(node) == "getitem":
        return _is_view(node.args[0])
    schema = getattr(node.target, "_schema", None)
    shared = [entry.alias_info for entry in schema.returns if entry.alias_info is not None] if schema else []
    return any(not alias.is_write for alias in shared)


def _drop_idle(graph_module: GraphModule, node: Node) -> None:
    if kind(node) in _IDLE and _dtype(node) == _dtype(node.args[0]):
        node.replace_all_uses_with(node.args[0])  # pyright: ignore[reportArgumentType]
        graph_module.graph.erase_node(node)
    elif kind(node) in _ASSERTIONS:
        graph_module.graph.erase_node(node)


def _dtype(node: Any) -> Any:
    return getattr(node.meta.get("val"), "dtype", None)


@torch.no_grad()
def _compute_constants(graph_module: GraphModule) -> None:
    """Replace what depends on constants only by its value: normalized weights, grids of positions, torch.ones."""
    graph, values = graph_module.graph, dict[Node, Any]()
    for node in list(graph.nodes):
        if node.op == "get_attr":
            values[node] = constant(graph_module, node)
        elif node.op == "call_function" and _is_fixed(node) and all(one in values for one in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]
            if isinstance(values[node], Tensor) and values[node].is_floating_point():
                with graph.inserting_before(node):
                    made = attribute(graph_module, node.name, values[node])
                values[made] = values[node]
                node.replace_all_uses_with(made)
    graph.eliminate_dead_code()


def _is_fixed(node: Node) -> bool:
    """Whether an operation makes tensors, and the same ones each time."""
    if kind(node) == "getitem":
        return True
    return is_operation(node.target) and torch.Tag.nondeterministic_seeded not in node.target.tags  # pyright: ignore
