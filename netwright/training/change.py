"""What may be done to a network before and while it trains: surgery on it, terms of its loss, a plan of its memory.

A recipe names changes in order (`Recipe.changes`); packages above this one implement them, and `workflow` finds them by
name. Training gets the objects and knows no more of them than the three contracts below. An object may meet several.

A surgery, for example, with arguments that JSON can hold:

    @dataclass(frozen=True)
    class Rounded:
        bits: int = 8

        def change(self, module, example):
            batches = example.calibration(256)
            return RoundedNetwork(module, batches, self.bits)

    trained = train_network(net, dataset, recipe, resolution=32, changes=[Rounded(4)])

Changes are applied anew when a run is resumed, and then get the weights of the checkpoint. So the names and shapes of the
tensors of what they return depend on their arguments and the architecture only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import Table
from netwright.training.fields import KINDS_OF_CHANGE

Term = Callable[[Any, Any, Any], Tensor]


@dataclass(frozen=True)
class Example:
    """What the network is given in training, for changes that have to run it.

    Attributes:
        inputs: of one part of a batch as the training computes it at once, normalized: (x_BCHW,) for images.
        calibration: from a number of images to normalized batches of training images without augmentation.
    """

    inputs: tuple[Tensor, ...]
    calibration: Callable[[int], list[Tensor]]


@runtime_checkable
class Surgery(Protocol):
    """Changes the network before it trains: pruning, low-rank layers, fake quantization."""

    def change(self, module: nn.Module, example: Example) -> nn.Module:
        """Return the network that is trained, evaluated and saved in place of the module; it takes the same inputs.

        It may share the module's parameters. Where it depends on weights or images, what it found is in its buffers.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """Adds a term to the loss: feature distillation, regularization."""

    def objective(self, student: nn.Module, teacher: nn.Module | None) -> Term:
        """Return `term(outputs, taught, targets) -> loss`, a scalar that is added to the task's loss.

        Called once, before the first step, after all surgery; hooks on the two networks may be set here. `taught` is
        what the teacher answers to the same batch, None without a teacher. A term that is an nn.Module has its parameters
        trained along with the network and kept in the checkpoint.
        """
        ...


@runtime_checkable
class Plan(Protocol):
    """Decides how a step is computed within a number of bytes: checkpointing."""

    def plan(self, module: nn.Module, example: Example) -> nn.Module:
        """Return what computes the training steps: the same outputs and gradients, with the module's own parameters.

        Called once, before the first step, after all surgery, with the module in training mode. Evaluation and saving use
        the module itself; every step has inputs of the example's shapes.
        """
        ...


Change = Surgery | Objective | Plan


def resolve(changes: Sequence[Mapping[str, Any]], tables: Mapping[str, Table[Callable[..., Any]]]) -> list[Change]:
    """Return the changes that a recipe names, made with their arguments, in order.

    `tables`: kind ("surgery", "objective", "plan") -> table of functions that make one.

    Raises:
        NetwrightError: no such change, or an argument that it does not take.
    """
    return [_made(change, tables) for change in changes]


def _made(change: Mapping[str, Any], tables: Mapping[str, Table[Callable[..., Any]]]) -> Change:
    kind = next(kind for kind in KINDS_OF_CHANGE if kind in change)
    if kind not in tables:
        raise unknown("Kind of change", kind, tables)
    arguments = {name: value for name, value in change.items() if name != kind}
    make = tables[kind].find(change[kind])
    takes = inspect.signature(make).parameters
    wrong = next((name for name in arguments if name not in takes), None)
    if wrong is not None:
        raise unknown(f"Argument of {kind} {change[kind]}:", wrong, takes)
    try:
        return make(**arguments)
    except TypeError as error:
        raise NetwrightError(f"{kind} {change[kind]} cannot be made with {arguments}: {error}.") from error
