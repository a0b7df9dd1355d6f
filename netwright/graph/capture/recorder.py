"""Write down every operation that torch dispatches, as a `Graph`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor as TorchTensor
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.torch_internals import (
    StorageReference,
    TorchDispatchMode,
    is_composed,
    is_higher_order,
    is_storage_gone,
    node_number,
    number_of_backward_node,
    operation_name,
    parts_of,
    schema_of,
    storage_address,
    tree_iter,
    tree_map,
)
from netwright.graph.capture.higher_order import ATTENTION, attention_note, branch_note, larger, refusal
from netwright.graph.capture.undisturbed import tensors_in
from netwright.graph.graph import Graph, Op, Pass, Ref, Role, Storage, Tensor
from netwright.graph.operations.table import known_as, traits_of


def _sides(tensor: TorchTensor) -> str:
    return "unknown" if tensor.is_nested else "x".join(str(int(side)) for side in tensor.shape)


class ModuleStack:
    """Which module runs; kept by forward hooks on every module of a tree."""

    def __init__(self, root: nn.Module):
        self.running: list[tuple[str, str]] = [("", type(root).__name__)]
        self._handles: list[Any] = []
        for name, module in root.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):  # compiled code runs no hooks of others
                self._hook(module, (name, type(module).__name__))

    def _hook(self, module: nn.Module, entry: tuple[str, str]) -> None:
        def enter(_module: nn.Module, _inputs: Any) -> None:
            self.running.append(entry)

        def leave(_module: nn.Module, _inputs: Any, _outputs: Any) -> None:
            self.running.pop()

        self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
        self._handles.append(module.register_forward_hook(leave, always_call=True))

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


class Recorder(TorchDispatchMode):
    """A dispatch mode that records; `graph` gives what was recorded.

    Storages are told apart by their address, which a weak reference keeps from being used again, so views and what
    autograd unpacks are recognized. What has been freed is looked up before each operation.
    """

    supports_higher_order_operators = True  # torch asks: operations that take functions come by here too

    def __init__(self, modules: ModuleStack, *, training: bool = False):
        super().__init__()
        self._modules, self._training = modules, training
        self._notes: dict[str, None] = {}
        self._later = contextlib.ExitStack()
        self._references: dict[int, tuple[StorageReference, int]] = {}
        self._alive: dict[int, int] = {}  # storage: its address
        self._kept: dict[int, int] = {}  # those that autograd keeps alive during the forward pass
        self.saved: dict[int, None] = {}  # storages that autograd saves, in order
        self._tensor_ids: dict[Any, int] = {}
        self._tensors: list[Tensor] = []
        self._storages: list[Storage] = []
        self._ops: list[Op] = []
        self._packed: dict[str, list[tuple[int, TorchTensor]]] = {}  # by module path; the tensor keeps its address
        self._forward_paths: dict[int, tuple[str, str]] = {}
        self._schemas: dict[Any, tuple[str, list[str], bool, list[int]]] = {}
        self.stage: Pass = "forward"

    def close(self) -> None:
        """Set back what was set for torch.compile while it recorded."""
        self._later.close()

    def register(self, tensor: TorchTensor, role: Role, name: str = "") -> int:
        """Return the index of a tensor, entering it and its storage if they are new.

        Raises:
            NetwrightError: the tensor has no storage of its own: it is sparse or nested.
        """
        if tensor.layout != torch.strided or tensor.is_nested:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise NetwrightError(f"A tensor of shape {_sides(tensor)} is {kind}; only dense tensors can be captured.")
        address = storage_address(tensor)
        known = self._references.get(address)
        if known is None:
            number = len(self._storages)
            born = len(self._ops) if role == "activation" else -1
            self._storages.append(Storage(tensor.untyped_storage().nbytes(), role, name, born))
            self._references[address] = (StorageReference(tensor), number)
            if role == "activation":
                self._alive[number] = address
        else:
            number = known[1]
        shape = tuple(int(side) for side in tensor.shape)
        dtype = str(tensor.dtype).removeprefix("torch.")
        key = (number, int(tensor.storage_offset()), shape, tensor.stride(), dtype)
        if key not in self._tensor_ids:
            self._tensor_ids[key] = len(self._tensors)
            strides = () if tensor.is_contiguous() else tensor.stride()
            self._tensors.append(Tensor(shape, dtype, number, strides))
        return self._tensor_ids[key]

    def register_packed(self, path: str, name: str, tensor: TorchTensor) -> None:
        """Enter a weight that a module keeps in an object of torch's own, which its operations are given instead."""
        self._packed.setdefault(path, []).append((self.register(tensor, "parameter", name), tensor))

    def keep(self, tensor: TorchTensor) -> None:
        """Note that autograd saves a tensor; until the backward pass begins it cannot be freed."""
        number = self.storage_of(tensor)
        if number is not None:
            self.saved[number] = None
            if number in self._alive:
                self._kept[number] = self._alive.pop(number)

    def begin_backward(self) -> None:
        """Count what follows as the backward pass."""
        self.stage = "backward"
        self._alive |= self._kept

    def storage_of(self, tensor: TorchTensor) -> int | None:
        """Return the index of a tensor's storage, if it was recorded."""
        known = self._references.get(storage_address(tensor))
        return None if known is None else known[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(is_composed(value) for value in tree_iter((args, kwargs))):
            return NotImplemented  # a quantized or otherwise composed tensor: its parts come by again
        if is_higher_order(func):
            return self._run_functions(func, args, kwargs)
        path, _ = self._whereabouts()
        kind, names, is_view, written = self._schema(func)
        silent = traits_of(kind).silent
        if not silent and not is_view:
            self._note_freed()
        out = func(*args, **kwargs)
        if silent:
            for value in tree_iter(out):
                if isinstance(value, TorchTensor):
                    self.register(value, "activation", path)
            return out
        arguments = dict(zip(names, args, strict=False)) | kwargs
        written_tensors = [part for place in written for part in tree_iter(arguments.get(names[place]))]
        self._record(kind, arguments, out, schema_of(func).overload_name, is_view, written_tensors)
        return out

    def _run_functions(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation that takes functions: of two branches the larger one, attention as one operation.

        Raises:
            NetwrightError: it is another one, whose functions cannot be seen into.
        """
        name = operation_name(func)
        path, layer = self._whereabouts()
        place = f"{path} ({layer})" if path else layer or "the module"
        if name == "cond" and not self._training:
            self._notes[branch_note(place)] = None
            branch = larger(args[1:3], args[3])
            with self:
                return branch(*args[3])
        if name in ATTENTION:
            self._notes[attention_note(name, place)] = None
            self._later.enter_context(torch.compiler.set_stance("force_eager"))  # else it asks for compiled code
            self._note_freed()
            out = func(*args, **kwargs)
            self._record(f"higher_order.{name}", dict(zip(ATTENTION[name], args, strict=False)), out)
            return out
        raise refusal(name, place, training=self._training)

    def _record(
        self,
        kind: str,
        arguments: dict[str, Any],
        out: Any,
        overload: str = "",
        is_view: bool = False,
        written: Sequence[Any] = (),
    ) -> None:
        path, layer = self._whereabouts()
        references = {name: tree_map(self._plain, value) for name, value in arguments.items()}
        inputs = tuple(value.tensor for value in tree_iter(list(references.values())) if isinstance(value, Ref))
        writes = [self.storage_of(part) for part in written if isinstance(part, TorchTensor)]
        before = len(self._storages)
        outputs = tuple(
            self.register(value, "activation", path) for value in tree_iter(out) if isinstance(value, TorchTensor)
        )
        is_view = is_view or (
            not writes and bool(outputs) and len(self._storages) == before and self._alias(inputs, outputs)
        )
        changed = tuple(w for w in writes if w is not None)
        self._ops.append(Op(kind, inputs, outputs, references, path, layer, self.stage, is_view, changed, overload))

    def _alias(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        mine = {self._tensors[index].storage for index in inputs}
        return all(self._tensors[index].storage in mine for index in outputs)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, TorchTensor):
            return Ref(self.register(value, "constant"))
        if value is None or isinstance(value, (bool, int, float, str, complex)):
            return value
        if isinstance(value, torch.ScriptObject) and (packed := self._packed.get(self._whereabouts()[0])):
            matrices = [Ref(index) for index, tensor in packed if tensor.dim() > 1]
            return matrices[0] if len(matrices) == 1 else matrices
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return str(value)
        return str(value)

    def _schema(self, func: Any) -> tuple[str, list[str], bool, list[int]]:
        found = self._schemas.get(func)
        if found is None:
            schema = schema_of(func)
            written = [
                place
                for place, argument in enumerate(schema.arguments)
                if argument.alias_info is not None and argument.alias_info.is_write
            ]
            found = (known_as(schema.name), [argument.name for argument in schema.arguments], func.is_view, written)
            self._schemas[func] = found
        return found

    def _whereabouts(self) -> tuple[str, str]:
        if self.stage == "forward" or len(self._modules.running) > 1:  # a part runs again: activation checkpointing
            here = self._modules.running[-1]
            if torch.is_grad_enabled():
                self._forward_paths.setdefault(node_number(), here)
            return here
        number = number_of_backward_node()
        # an in-place operation saves a clone first, and what is recorded is the number of the clone: the next one
        return self._forward_paths.get(number) or self._forward_paths.get(number + 1, ("", ""))

    def _note_freed(self) -> None:
        gone = [number for number, address in self._alive.items() if is_storage_gone(address)]
        for number in gone:
            del self._alive[number]
            self._storages[number] = replace(self._storages[number], freed=len(self._ops))

    def graph(
        self,
        inputs: Sequence[TorchTensor],
        outputs: Any,
        *,
        source: str,
        saved: Sequence[int] = (),
        gradients: dict[str, int] | None = None,
        notes: Sequence[str] = (),
    ) -> Graph:
        """Return what was recorded; `outputs` may be any nesting of tensors."""
        notes = [*notes, *self._notes]
        out = list(tensors_in(outputs))
        if any(self.storage_of(tensor) is None for tensor in out if not is_composed(tensor)):
            notes.append("an output comes from operations that were not seen: other threads or libraries made it")
        out = [part for tensor in out for part in parts_of(tensor)]
        return Graph(
            inputs=tuple(self.register(tensor, "input") for tensor in inputs),
            outputs=tuple(self.register(tensor, "activation") for tensor in out),
            tensors=tuple(self._tensors),
            storages=tuple(self._storages),
            ops=tuple(self._ops),
            source=source,
            saved=tuple(saved),
            gradients=gradients or {},
            notes=tuple(notes),
        )
