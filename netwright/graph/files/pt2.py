"""Read an ExportedProgram file (.pt2) as a `Graph`, without running anything that the file says.

`torch.export.load` is not used: it unpickles what asks for it (weights_only=False), evaluates symbolic sizes through sympy
and executes guards as Python text. Here the archive's JSON is read, and its operations, which must be ones that torch or
torchvision registered, are called one by one on tensors without data; weights are known by shape only and stay unread.
"""

from __future__ import annotations

import json
import math
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import children_of, is_operation
from netwright.graph.capture.trace import capture
from netwright.graph.graph import Graph

LARGEST = 1 << 28  # bytes of JSON; a network of ten thousand operations has some twenty million
_OPERATION = re.compile(r"torch\.ops\.(\w+)\.(\w+)\.(\w+)")
_NAMESPACES = {"aten", "prims", "quantized_decomposed", "torchao", "torchvision"}
_FORBIDDEN = {"from_file"}
# Arithmetic on sizes.
_NUMBERS: dict[str, Callable[..., Any]] = {
    "_operator.add": operator.add,
    "_operator.sub": operator.sub,
    "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv,
    "_operator.truediv": operator.truediv,
    "_operator.mod": operator.mod,
    "_operator.neg": operator.neg,
    "_operator.eq": operator.eq,
    "_operator.ne": operator.ne,
    "_operator.lt": operator.lt,
    "_operator.le": operator.le,
    "_operator.gt": operator.gt,
    "_operator.ge": operator.ge,
    "_operator.and_": operator.and_,
    "_operator.or_": operator.or_,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}
# torch._export.serde.schema.ScalarType
_DTYPES = {
    number: getattr(torch, name)
    for number, name in enumerate(
        [
            "uint8",
            "int8",
            "int16",
            "int32",
            "int64",
            "float16",
            "float32",
            "float64",
            "complex32",
            "complex64",
            "complex128",
            "bool",
            "bfloat16",
        ],
        1,
    )
} | {
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_PLAIN = {"as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_strings", "as_int_lists"}


def read_program(path: str | Path) -> Graph:
    """Return the operations of an exported program, for inputs of the shapes that it was exported with.

    Raises:
        NetwrightError: not such a file, or it is damaged or calls what is not among torch's operations.
    """
    path = Path(path)
    content = _content(path)
    try:
        program = _program(content["graph_module"])
        inputs = program.example_inputs()
        notes = program.notes()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, RuntimeError) as error:
        raise NetwrightError(
            f"{path} is damaged, or was written by a version of torch that is not known here: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}. Export it again."
        ) from error
    try:
        graph = capture(program, *inputs, values=False)
    except NetwrightError as error:
        raise NetwrightError(f"{path} cannot be read. {error}") from error
    return replace(graph, source="exported program", notes=(*graph.notes, *notes))


def _program(content: Mapping[str, Any]) -> _ProgramModule:
    """Return the interpreting module, under the name of the class that was exported."""
    classes: dict[str, str] = {}
    _note_classes(content["graph"], classes)
    name = classes.pop("", "")
    made = type(name, (_ProgramModule,), {}) if name.isidentifier() else _ProgramModule
    return made(content, classes)


def _content(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                entry
                for entry in archive.infolist()
                if re.search(r"(^|/)models/[^/]*\.json$|(^|/)serialized_exported_program\.json$", entry.filename)
            ]
            if not names:
                raise NetwrightError(
                    f"{path} holds no exported program. Write one with torch.export.save(torch.export.export(...), path)."
                )
            if names[0].file_size > LARGEST:
                raise NetwrightError(
                    f"{path} describes its program in {names[0].file_size:,} bytes, which is too many."
                )
            content = json.loads(archive.read(names[0]))
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    except NetwrightError:
        raise
    except Exception as error:
        raise NetwrightError(
            f"{path} is not an exported program, or is damaged: {' '.join(str(error).split())[:200]}."
        ) from error
    if not isinstance(content, dict):
        raise NetwrightError(f"{path} is damaged: its program is not a JSON object. Export it again.")
    return content


class _Stub(nn.Module):
    """Stands for a module of the original network: runs one of its operations, so that hooks see where it is."""

    def forward(self, operation: Callable[[], Any]) -> Any:
        return operation()


class _ProgramModule(_Stub):
    """The exported graph as a module that interprets it; parameters and buffers on the meta device, under their names."""

    def __init__(self, content: Mapping[str, Any], classes: Mapping[str, str]):
        super().__init__()
        graph = content["graph"]
        self._nw_graph = graph
        self._nw_inputs: list[tuple[str, Any]] = []  # name, argument of each input of the caller
        self._nw_given: dict[str, Any] = {}  # name: constant
        self._nw_state: dict[str, str] = {}  # name: parameter or buffer
        for path, name in sorted(classes.items()):
            self._nw_part(path, name)
        for spec in content["signature"]["input_specs"]:
            ((kind, value),) = spec.items()
            self._nw_enter(kind, value, graph["tensor_values"])

    def _nw_part(self, path: str, class_name: str = "") -> nn.Module:
        """Return the part of a path, made with its parents if it is not there."""
        part: nn.Module = self
        for name in path.split(".") if path else ():
            if name not in children_of(part):
                made = type(class_name, (_Stub,), {}) if class_name.isidentifier() else _Stub
                part.add_module(name, made())
            part = children_of(part)[name]  # pyright: ignore[reportAssignmentType]
        return part

    def _nw_enter(self, kind: str, value: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        if kind in ("parameter", "buffer", "tensor_constant"):
            name, target = value["arg"]["name"], value[f"{kind}_name"]
            owner, _, last = target.rpartition(".")
            part, tensor = self._nw_part(owner), _empty(tensors[name])
            if kind == "parameter":
                part.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
            else:
                part.register_buffer(last, tensor)
            self._nw_state[name] = target
        elif kind == "user_input":
            ((_, argument),) = value["arg"].items()
            named = argument if isinstance(argument, dict) else {}
            self._nw_inputs.append((named.get("name", named.get("as_name", "")), value["arg"]))
        elif kind == "constant_input":
            self._nw_given[value["name"]] = next(iter(value["value"].values()))
        else:
            raise NetwrightError(f"The program takes a {kind} as input, which cannot be read.")

    def example_inputs(self) -> list[Any]:
        """Return meta tensors of the shapes that the program was exported with, and its other arguments."""
        tensors, found = self._nw_graph["tensor_values"], []
        for name, argument in self._nw_inputs:
            ((form, value),) = argument.items()
            if form == "as_tensor":
                found.append(_empty(tensors[name]))
            elif form == "as_sym_int":
                found.append(_size(self._nw_graph["sym_int_values"][name]))
            else:
                found.append(None if form == "as_none" else value)
        return found

    def notes(self) -> list[str]:
        """Say which sizes of the inputs were free."""
        tensors, notes = self._nw_graph["tensor_values"], []
        for name in (name for name, argument in self._nw_inputs if "as_tensor" in argument):
            free = [str(place) for place, side in enumerate(tensors[name]["sizes"]) if "as_expr" in side]
            shape = "x".join(str(_size(side)) for side in tensors[name]["sizes"])
            if free:
                notes.append(
                    f"input {name!r} is taken as {shape}, as it was exported; its dimensions {', '.join(free)} are free"
                )
        return notes

    def forward(self, *inputs: Any) -> Any:
        state = {
            **dict(self.named_buffers(remove_duplicate=False)),
            **dict(self.named_parameters(remove_duplicate=False)),
        }
        values = {name: state[target] for name, target in self._nw_state.items()} | self._nw_given
        values |= {name: value for (name, _), value in zip(self._nw_inputs, inputs, strict=True) if name}
        return self._nw_run(self._nw_graph, values)

    def _nw_run(self, graph: Mapping[str, Any], values: dict[str, Any]) -> list[Any]:
        """Interpret a graph; a value is dropped after its last use, as in the eager run."""
        last: dict[str, int] = {}
        for place, node in enumerate(graph["nodes"]):
            last |= dict.fromkeys(_names([entry["arg"] for entry in node["inputs"]]), place)
        for name in _names(graph["outputs"]):
            last[name] = len(graph["nodes"])
        for place, node in enumerate(graph["nodes"]):
            path, _ = _whereabouts(node)
            part = self._nw_part(path) if path else None
            made = part(lambda: self._nw_call(node, values)) if part is not None else self._nw_call(node, values)  # noqa: B023
            _assign(node["outputs"], made, values)
            del made
            for name in _names([entry["arg"] for entry in node["inputs"]]):
                if last[name] == place:
                    values.pop(name, None)
        return [_argument(output, values) for output in graph["outputs"]]

    def _nw_call(self, node: Mapping[str, Any], values: dict[str, Any]) -> Any:
        target = node["target"]
        if target.startswith("torch.ops.higher_order."):
            return self._nw_nested(target, node, values)
        args = [_argument(entry["arg"], values) for entry in node["inputs"] if entry.get("kind") != 2]
        keywords = {
            entry["name"]: _argument(entry["arg"], values) for entry in node["inputs"] if entry.get("kind") == 2
        }
        if target in _NUMBERS:
            return _compute(target, args)
        return _operation(target)(*args, **keywords)

    def _nw_nested(self, target: str, node: Mapping[str, Any], values: dict[str, Any]) -> Any:
        """Run a graph that was wrapped for its settings (no_grad, autocast); the settings do not change its operations."""
        if not target.endswith(("wrap_with_set_grad_enabled", "wrap_with_autocast")):
            raise NetwrightError(f"The program runs {target}: which of its operations run depends on values.")
        arguments = [entry["arg"] for entry in node["inputs"]]
        place = next(number for number, argument in enumerate(arguments) if "as_graph" in argument)
        graph = arguments[place]["as_graph"]["graph"]
        given = [_argument(argument, values) for argument in arguments[place + 1 :]]
        inner = dict(zip(_names(graph["inputs"]), given, strict=True))
        made = self._nw_run(graph, inner)
        return made[0] if len(made) == 1 and node.get("is_hop_single_tensor_return") else made


def _note_classes(graph: Mapping[str, Any], classes: dict[str, str]) -> None:
    """Collect the class of every module that the operations of a graph name, nested graphs included."""
    for node in graph["nodes"]:
        for entry in node.get("metadata", {}).get("nn_module_stack", "").split(";"):
            parts = entry.split(",")
            if len(parts) == 3:
                classes.setdefault(parts[1], parts[2].rpartition(".")[2])
        for entry in node["inputs"]:
            if "as_graph" in entry["arg"]:
                _note_classes(entry["arg"]["as_graph"]["graph"], classes)


def _whereabouts(node: Mapping[str, Any]) -> tuple[str, str]:
    parts = node.get("metadata", {}).get("nn_module_stack", "").split(";")[-1].split(",")
    return (parts[1], parts[2]) if len(parts) == 3 else ("", "")


def _size(value: Mapping[str, Any]) -> int:
    """Return a size; of a symbolic one, what it was in the example."""
    return int(value["as_int"] if "as_int" in value else value["as_expr"]["hint"]["as_int"])


def _empty(meta: Mapping[str, Any]) -> Tensor:
    sizes, strides = ([_size(value) for value in meta[key]] for key in ("sizes", "strides"))
    return torch.empty_strided(sizes, strides, dtype=_DTYPES[meta["dtype"]], device="meta")


def _names(arguments: Any) -> list[str]:
    """Return the names of the values among arguments."""
    found = []
    for argument in arguments:
        ((form, value),) = argument.items()
        if form in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            value = [value]
        for part in value if form.startswith(("as_tensor", "as_sym", "as_optional")) else ():
            part = part.get("as_tensor", part) if isinstance(part, dict) else {}
            name = part["name"] if "name" in part else part.get("as_name")
            found += [name] if name is not None else []
    return found


def _argument(argument: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return the Python value of an argument."""
    ((form, value),) = argument.items()
    if form in _PLAIN:
        return value
    readers: dict[str, Callable[[Any], Any]] = {
        "as_none": lambda _value: None,
        "as_float": float,
        "as_floats": lambda value: [float(part) for part in value],
        "as_tensor": lambda value: values[value["name"]],
        "as_tensors": lambda value: [values[part["name"]] for part in value],
        "as_optional_tensor": lambda value: _one(value, values),
        "as_optional_tensors": lambda value: [_one(part, values) for part in value],
        "as_scalar_type": lambda value: _DTYPES[value],
        "as_memory_format": lambda value: _MEMORY_FORMATS[value],
        "as_layout": lambda value: torch.strided,
        "as_device": lambda value: torch.device("cpu"),
        "as_complex": lambda value: complex(value["real"], value["imag"]),
    }
    for kind in ("int", "float", "bool"):
        readers[f"as_sym_{kind}"] = lambda value: _one(value, values)
        readers[f"as_sym_{kind}s"] = lambda value: [_one(part, values) for part in value]
    if form not in readers:
        raise NetwrightError(f"The program holds an argument of kind {form}, which cannot be read.")
    return readers[form](value)


def _one(value: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return a value that is either a name or stands there itself."""
    ((form, inner),) = value.items()
    if form == "as_name":
        return values[inner]
    return values[inner["name"]] if form == "as_tensor" else None if form == "as_none" else inner


def _assign(outputs: Any, made: Any, values: dict[str, Any]) -> None:
    """Enter what an operation returned under the names of its outputs."""
    if len(outputs) == 1 and not (isinstance(made, (list, tuple)) and "as_tensors" not in outputs[0]):
        made = [made]
    for output, value in zip(outputs, made if outputs else (), strict=True):
        ((form, name),) = output.items()
        if form == "as_tensors":
            values.update({part["name"]: one for part, one in zip(name, value, strict=True)})
        elif form != "as_none":
            key = _names([output])
            values.update({key[0]: value} if key else {})


def _compute(target: str, args: list[Any]) -> Any:
    if not all(isinstance(value, (int, float)) for value in args):
        raise NetwrightError(f"The program calls {target} on what is no number.")
    made = _NUMBERS[target](*args)
    if abs(made) >= 1 << 63:
        raise NetwrightError(f"The program computes a size of {made:.3g}.")
    return made


def _operation(target: str) -> Any:
    found = _OPERATION.fullmatch(target)
    if found and found[1] == "torchvision":
        import torchvision  # noqa: F401 - registers its operations
    if found and found[1] in _NAMESPACES and found[2] not in _FORBIDDEN:
        operation = getattr(getattr(getattr(torch.ops, found[1]), found[2], None), found[3], None)
        if is_operation(operation):
            return operation
    raise NetwrightError(
        f"The program calls {str(target)[:100]}, which is none of the operations of {', '.join(sorted(_NAMESPACES))}."
    )
