"""Hold torch's private interfaces in one file: netwright/core/torch_internals.py.

    python tools/check_private_torch.py [FOLDER ...]

Exit status 1 names every other place that imports from a private module of torch, or reads a private attribute of
torch or of its tensors, modules and operations.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

HOME = "netwright/core/torch_internals.py"
# Attributes of torch's objects that may be read from any variable.
ATTRIBUTES = {
    *(
        "_parameters",
        "_buffers",
        "_modules",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_conv_forward",
        "_cdata",
        "cdata",
    ),
    *("_expired", "_schema", "_opname", "_overloadpacket", "_sequence_nr", "_version", "_grad_fn", "_saved_tensors"),
    *("__tensor_flatten__", "kineto_results"),
}
# What is allowed elsewhere, by file and name, and why.
ALLOWED: dict[tuple[str, str], str] = {
    ("netwright/compression/quantization/qdq.py", "_parameters"): "a method of its own class, which is no module",
    ("netwright/graph/capture/recorder.py", "_modules"): "an attribute of its own class, which is no module",
    ("netwright/graph/capture/recorder.py", "_schema"): "a method of its own class",
}


def private_uses(source: str, file: str) -> list[str]:
    """Return "file:line what" of every private use of torch in a source text."""
    found = []
    for node in ast.walk(ast.parse(source, file)):
        for what in _private(node):
            if (file, what.rpartition(".")[2]) not in ALLOWED:
                found.append(f"{file}:{getattr(node, 'lineno', 0)} {what}")
    return found


def _private(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names if _is_private_path(name.name)]
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in (
        "torch",
        "torchao",
        "torchvision",
    ):
        return [path for name in node.names if _is_private_path(path := f"{node.module}.{name.name}")]
    if isinstance(node, ast.Attribute):
        path = _dotted(node)
        if node.attr in ATTRIBUTES or (_is_private_path(path) and not _is_operation(path)):
            return [path]
    return []


def _is_private_path(path: str) -> bool:
    first, *rest = path.split(".")
    return first in ("torch", "torchao", "torchvision") and any(
        name.startswith("_") and not name.startswith("__") for name in rest
    )


def _is_operation(path: str) -> bool:
    """Operations of torch.ops are named by their schemas, underscores included, and graphs hold those names."""
    return path.startswith("torch.ops.")


def _dotted(node: ast.Attribute) -> str:
    inner = node.value
    first = _dotted(inner) if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else "?"
    return f"{first}.{node.attr}"


def main(arguments: list[str]) -> int:
    """Check the folders."""
    files = [path for name in arguments or ["netwright"] for path in sorted(Path(name).rglob("*.py"))]
    found = [
        line for path in files if path.as_posix() != HOME for line in private_uses(path.read_text(), path.as_posix())
    ]
    for line in found:
        print(f"{line}: torch may change it. Use or add a function of {HOME}, with a test.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
