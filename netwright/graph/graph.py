"""The static list of operations of a network: what cost, memory planning and code generation read.

A `Graph` is plain data. Its operations keep the names of where they come from ("aten.convolution", "tflite.CONV_2D",
"onnx.Conv"); a tensor is a shape and a type on a storage, and views share one storage, so bytes are counted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from netwright.graph.operations.table import traits_of
from netwright.graph.operations.traits import Traits

Role = Literal["input", "parameter", "buffer", "constant", "activation"]
Pass = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands for a tensor among the arguments of an operation."""

    tensor: int


@dataclass(frozen=True, slots=True)
class Storage:
    """Memory that one or more tensors look at.

    `name`: of the parameter, buffer or input; of an activation, the module path that made it. `born`: index of the
    operation that allocates it, -1 for what is there before the first. `freed`: index of the first operation that ran
    after it was freed in the captured run; None where it outlived the run or nothing was run.
    """

    bytes: int
    role: Role
    name: str
    born: int = -1
    freed: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A shape and a type on a storage (an index into `Graph.storages`). Types carry torch's names: float32, int8.

    `strides`: in elements, empty where the tensor is contiguous or nothing is known of them.
    """

    shape: tuple[int, ...]
    dtype: str
    storage: int
    strides: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    `inputs`, `outputs`: indices into `Graph.tensors`, in the order of the arguments. `arguments`: all arguments by
    name, tensors as `Ref`. `path`: module path from the root, "" for the root itself. `layer`: class of that module.
    `overload`: which of torch's operations of this name.
    `view`: makes no new memory and touches none. `writes`: storages that it changes in place.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: Mapping[str, Any]
    path: str = ""
    layer: str = ""
    stage: Pass = "forward"
    view: bool = False
    writes: tuple[int, ...] = ()
    overload: str = ""


@dataclass(frozen=True)
class Graph:
    """Operations in the order in which they run, with their tensors and storages.

    `inputs`, `outputs`: indices into `tensors`. `saved`: storages that the captured run kept for its backward pass.
    `gradients`: tensors that hold the gradients of the trained parameters, by name. `notes`: what was not captured as
    asked, and why. `source`: where the graph comes from. `own`: traits of operations by kind ("my.op"), asked before the
    table of `netwright.graph.operations`.
    """

    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    source: str
    saved: tuple[int, ...] = ()
    gradients: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    own: Mapping[str, Traits] = field(default_factory=dict)

    def traits(self, op: Op) -> Traits:
        """Return what an operation is."""
        return traits_of(op.kind, self.own)

    def storage(self, tensor: int) -> Storage:
        """Return the storage of a tensor."""
        return self.storages[self.tensors[tensor].storage]

    @property
    def without_shape(self) -> int:
        """Number of results whose shape is not known; they stand there as one element that takes no memory."""
        made = {index for op in self.ops for index in op.outputs}
        return sum(self.tensors[index].dtype == "unknown" for index in made)

    def tensors_of(self, role: Role) -> Iterator[tuple[int, Tensor]]:
        """Yield index and tensor of every tensor of a role."""
        for index, tensor in enumerate(self.tensors):
            if self.storages[tensor.storage].role == role:
                yield index, tensor

    @property
    def params(self) -> int:
        """Number of parameters, each storage counted once."""
        return sum(self.param_elements().values())

    def param_elements(self) -> dict[int, int]:
        """Return the elements of every parameter's storage, by the first tensor on it: a view of it may be expanded."""
        seen: dict[int, int] = {}
        for _, tensor in self.tensors_of("parameter"):
            seen.setdefault(tensor.storage, tensor.elements)
        return seen
