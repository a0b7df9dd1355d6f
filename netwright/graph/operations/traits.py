"""What an operation is: the columns of the one table that cost, memory planning and training read.

The rows are in `aten.py`, `onnx.py`, `tflite.py` and `others.py`, each operation once; `table.py` looks them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Group = Literal["matmul", "norm", "elementwise", "move"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What one kind of operation is. A default says that nothing of the sort is known.

    What it computes:
        group: "matmul" are convolutions, linear layers, matrix products, attention and recurrent layers; "norm"
            normalization, pooling, resampling and reductions; "elementwise" everything else that computes; "move" what
            copies, gathers or fills; None: not known, so the operation has no price.
        each: operations for every element of what `per` names. A step of arithmetic, a comparison and a call of a
            function such as exp count one each.
        per: the first output or the first input.
        formula: where that is not all, the name of the formula in `netwright.cost.rules`, or a function
            (graph, op) -> Work of one's own.
        operands: names of the arguments that the formula reads: of a product, data and weights.
    What it does to memory:
        view: the result may share the memory of the first input: a reshape.
        in_place: the result may be written over an input: each element is read before it is written, and never again.
        reads: all of its inputs; "result": of the first no more than it returns; "nothing": only their shapes.
        writes: False where memory is only set aside.
        silent: asks, announces or sets aside, and is no operation of a graph.
        workspace: which rule of `netwright.cost.memory.workspace` knows what it allocates for itself and frees again.
    What a compiler needs to know:
        channels: it ends in a sum with weights, and this dimension of the result holds the channels.
        batch_norm: a BatchNorm whose arguments say which statistics it uses.
        random: it draws random numbers whatever its arguments are.
    What the backward pass needs:
        activation: "relu": the gradient is the incoming one or a multiple of it, by the sign or range of the result;
            "hard": the same of a hard sigmoid; "smooth": it needs values.
        saves: "input": its backward pass reads its input, of which autograd keeps a clone where it works in place.
        shape_only: of a backward operation, the arguments of which it reads the shape alone.
        packed: of a backward operation, the arguments of which a few bits of each element do: (name, bits).
        needs: of a backward operation, which rule of `netwright.cost.memory.saved_tensors` knows what it reads, by the
            gradients that are wanted.
    """

    group: Group | None = None
    each: int = 0
    per: Literal["output", "input"] = "output"
    formula: str | Callable[[Any, Any], Any] = ""
    operands: tuple[str, ...] = ()
    view: bool = False
    in_place: bool = False
    reads: Literal["all", "result", "nothing"] = "all"
    writes: bool = True
    silent: bool = False
    workspace: Literal["", "convolution", "convolution_backward", "input"] = ""
    channels: int | None = None
    batch_norm: bool = False
    random: bool = False
    activation: Literal["", "relu", "hard", "smooth"] = ""
    saves: Literal["", "input"] = ""
    shape_only: tuple[str, ...] = ()
    packed: tuple[tuple[str, int], ...] = ()
    needs: Literal["", "convolution", "batch_norm", "normalized"] = ""


UNKNOWN = Traits()


def rows(namespace: str, *lines: tuple[Traits, str]) -> Iterator[tuple[str, Traits]]:
    """Yield kind and traits of every operation of a namespace.

    Raises:
        ValueError: an operation stands in two rows.
    """
    seen: set[str] = set()
    for traits, names in lines:
        for name in names.split():
            if name in seen:
                raise ValueError(f"{namespace}.{name} stands in two rows of the table of traits")
            seen.add(name)
            yield f"{namespace}.{name}", traits
