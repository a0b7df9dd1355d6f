"""Reading the nodes of an exported graph: what they are, where they come from, their arguments and constants."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from netwright.core.torch_internals import schema_of


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
