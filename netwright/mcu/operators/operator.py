"""What an int8 operator is: its names in a .tflite file, its arithmetic, and how it becomes layers of C.

Everything about an operator is in one file: a class derived from `Layer`, which answers what planning, pricing and
emission ask; the lowering rule, which makes such layers of an operation of the graph; and an `Operator` that names
both. The operators of netwright are the rows of `table.OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.graph.graph import Op
from netwright.graph.integers.call import Call
from netwright.mcu.layer import Layer
from netwright.mcu.operators.shared.lowering import Lowering

CUSTOM = "custom."  # custom operators are called by this and the name of their code


@dataclass(frozen=True)
class Operator:
    """One kind of int8 operator.

    Attributes:
        names: TensorFlow Lite's, as in the schema ("SQUARE"); "custom.NAME" for an operator of custom code NAME.
        lower: the rule that appends its layers to a `Lowering`.
        layer: the kind of layer defined for it; None where it becomes layers of other kinds only.
        compute: its arithmetic, from arrays to an array (several outputs: a tuple), which the C must equal bit for bit.
            None: the function of that name in `graph.integers.interpret.KERNELS`.
    """

    names: tuple[str, ...]
    lower: Callable[[Lowering, Op], None]
    layer: type[Layer] | None = None
    compute: Callable[[Call], Any] | None = None

    def __post_init__(self) -> None:
        """Refuse an operator without names or with a rule that cannot be called."""
        if isinstance(self.names, str) or not self.names or not all(isinstance(name, str) for name in self.names):
            raise NetwrightError(
                f"An operator has the names {self.names!r}; a tuple is needed, such as ('SQUARE',) or ('custom.MINE',)."
            )
        if not callable(self.lower) or not (self.compute is None or callable(self.compute)):
            raise NetwrightError(f"Operator {self.names[0]}: lower and compute must be functions.")
