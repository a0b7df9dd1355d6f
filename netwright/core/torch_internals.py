"""Everything that netwright uses of torch which torch does not document or promise to keep.

Each is a function or a class here, with a test of its own, so that a new torch that changes one of them is told by one
test and by an error that names it, instead of by whatever fails later. torch is imported with this file, so nothing
that runs when the command line starts may import it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError

TRIED = "2.15"  # the torch that the tests run with, and the least that pyproject.toml allows
FAKE_TENSOR_LOGGER = "torch._subclasses.fake_tensor"
PYTREE_LOGGER = "torch.utils._pytree"
MODULE_STATE = ("_parameters", "_buffers", "_modules")  # attributes of a module that hold tensors and children


class TorchInternalsError(NetwrightError):
    """This torch lacks an interface that netwright needs, or has changed it."""


def changed(interface: str, error: Exception) -> TorchInternalsError:
    """Return the error that names the interface and the version of torch that is known to have it."""
    return TorchInternalsError(
        f"netwright was tried with torch {TRIED}; this is {torch.__version__}, whose {interface} is missing "
        f"or has changed ({type(error).__name__}: {error}). Install that version."
    )


try:
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # what all BatchNorm layers derive from
    from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
    from torch.utils._pytree import tree_iter, tree_map
except ImportError as error:
    raise changed(str(error.name), error) from error

if TYPE_CHECKING:
    from torch._subclasses.fake_tensor import FakeTensorMode

__all__ = [
    "FAKE_TENSOR_LOGGER",
    "MODULE_STATE",
    "PYTREE_LOGGER",
    "TRIED",
    "BatchNorm",
    "FakeTensorMode",
    "StorageReference",
    "TorchDispatchMode",
    "TorchInternalsError",
    "buffers_of",
    "changed",
    "check_capture",
    "children_of",
    "convolve",
    "fake_tensors",
    "flop_formula",
    "int8_product",
    "is_composed",
    "is_higher_order",
    "is_operation",
    "is_storage_gone",
    "lerp_all",
    "node_number",
    "number_of_backward_node",
    "operation_name",
    "parameters_of",
    "parts_of",
    "real_tensors",
    "schema_of",
    "set_module_state",
    "storage_address",
    "tree_iter",
    "tree_map",
]


@functools.cache
def _interface(path: str) -> Any:
    """Return what a dotted path names: "torch.autograd._get_sequence_nr".

    Raises:
        TorchInternalsError: this torch has no such thing.
    """
    names = path.split(".")
    found: Any = torch
    try:
        for depth, name in enumerate(names[1:], 2):
            if not hasattr(found, name):
                importlib.import_module(".".join(names[:depth]))
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise changed(path, error) from error
    return found


# Autograd: which operation of the forward pass a node of the backward pass belongs to.


def node_number() -> int:
    """Return the number of the node that autograd made last, in this thread."""
    try:
        return _interface("torch.autograd._get_sequence_nr")() - 1
    except TypeError as error:
        raise changed("torch.autograd._get_sequence_nr", error) from error


def number_of_backward_node() -> int:
    """Return the number of the node whose backward function runs now; -1 outside of a backward pass."""
    try:
        node = _interface("torch._C._current_autograd_node")()
        return -1 if node is None else node._sequence_nr()
    except (AttributeError, TypeError) as error:
        raise changed("torch._C._current_autograd_node()._sequence_nr", error) from error


# Storages: telling them apart, and when they are freed.


def storage_address(tensor: Tensor) -> int:
    """Return the address that tells a tensor's storage from all others that are alive."""
    try:
        return tensor.untyped_storage()._cdata
    except AttributeError as error:
        raise changed("torch.UntypedStorage._cdata", error) from error


class StorageReference:
    """A weak reference to a tensor's storage, which keeps its address from being used again.

    `address`: as `storage_address` gives it.
    """

    __slots__ = ("_reference", "address")

    def __init__(self, tensor: Tensor):
        try:
            self._reference = StorageWeakRef(tensor.untyped_storage())
            self.address: int = self._reference.cdata
        except (AttributeError, TypeError) as error:
            raise changed("torch.multiprocessing.reductions.StorageWeakRef.cdata", error) from error


def is_storage_gone(address: int) -> bool:
    """Tell whether the storage of an address, to which a `StorageReference` is held, has been freed."""
    try:
        return _interface("torch.UntypedStorage._expired")(address)
    except TypeError as error:
        raise changed("torch.UntypedStorage._expired", error) from error


# Tensors without data, and tensors that are made of others.


def fake_tensors() -> FakeTensorMode:
    """Return a mode in which tensors have shapes and no data; it takes tensors with data as well."""
    try:
        return _interface("torch._subclasses.fake_tensor.FakeTensorMode")(allow_non_fake_inputs=True)
    except TypeError as error:
        raise changed("torch._subclasses.fake_tensor.FakeTensorMode", error) from error


def real_tensors() -> AbstractContextManager[Any]:
    """Return a context in which tensors have data although a `fake_tensors` mode is on."""
    return _interface("torch._subclasses.fake_tensor.unset_fake_temporarily")()


def is_composed(value: object) -> bool:
    """Tell whether a value is a tensor that is made of others, a quantized one for example."""
    return is_traceable_wrapper_subclass(value)


def parts_of(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that a composed one is made of; else the tensor itself."""
    if not is_composed(tensor):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()  # pyright: ignore[reportAttributeAccessIssue]
    return [part for name in names for part in parts_of(getattr(tensor, name))]


@functools.cache
def check_capture() -> None:
    """Try what capturing a network needs. Beforehand, since some of torch's callers cannot pass an error on: they abort.

    Raises:
        TorchInternalsError: this torch lacks one of them.
    """
    node_number()
    number_of_backward_node()
    reference = StorageReference(torch.empty(1))
    is_storage_gone(reference.address)
    with fake_tensors(), real_tensors():
        schema_of(torch.ops.aten.relu.default)


# Operations.


def schema_of(operation: Any) -> Any:
    """Return the schema of an operation of torch.ops: its name, arguments and overload."""
    try:
        return operation._schema
    except AttributeError as error:
        raise changed("torch.ops' _schema", error) from error


def is_operation(value: object) -> bool:
    """Tell whether a value is one overload of an operation of torch.ops."""
    return isinstance(value, _interface("torch._ops.OpOverload"))


def is_higher_order(value: object) -> bool:
    """Tell whether a value is an operation of torch that takes functions, such as torch.cond."""
    return isinstance(value, _interface("torch._ops.HigherOrderOperator"))


def operation_name(operation: Any) -> str:
    """Return the name of an operation without namespace and overload: "relu_"."""
    if is_higher_order(operation):
        return operation.__name__
    return schema_of(operation).name.partition("::")[2]


def flop_formula(operation: Any) -> Callable[..., int] | None:
    """Return torch's own count of an operation's flops; None where torch has none."""
    if not is_operation(operation):
        return None
    registry = _interface("torch.utils.flop_counter.flop_registry")
    try:
        return registry.get(operation._overloadpacket)
    except AttributeError as error:
        raise changed("torch.utils.flop_counter.flop_registry", error) from error


def int8_product(left: Tensor, right: Tensor) -> Tensor:
    """Return the int32 product of two int8 matrices."""
    return _interface("torch._int_mm")(left, right)


def lerp_all(starts: Sequence[Tensor], ends: Sequence[Tensor], weight: float) -> None:
    """Move each start towards its end by a share of the way, in place and all at once."""
    _interface("torch._foreach_lerp_")(starts, ends, weight)


# Modules.


def children_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the children of a module under all their names, also those that are None or there twice; the dict itself."""
    return module._modules


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return the parameters of a module itself under their names: the dict that it reads, so that others can be lent."""
    return module._parameters


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the buffers of a module itself under their names: the dict that it reads."""
    return module._buffers


def set_module_state(
    module: nn.Module,
    parameters: dict[str, Any],
    buffers: dict[str, Any],
    children: dict[str, Any],
) -> None:
    """Give a module that was made without `__init__` its tensors and children."""
    module.__dict__.update(zip(MODULE_STATE, (parameters, buffers, children), strict=True))


def convolve(layer: nn.Conv2d, x_BCHW: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of an input with another weight, by a layer's stride, padding and dilation, without bias."""
    try:
        return layer._conv_forward(x_BCHW, weight, None)
    except (AttributeError, TypeError) as error:
        raise changed("torch.nn.Conv2d._conv_forward", error) from error
