"""Average and largest value under a window: layer, lowering rule, C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from netwright.graph.graph import Op
from netwright.mcu.code import LayerData, RowPlace, struct
from netwright.mcu.layer import Layer, Network, Window, Work
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering
from netwright.mcu.operators.shared.products import window


@dataclass(frozen=True, eq=False)
class Pool(Layer):
    """Average or largest value under a window; the average counts only what is inside the image."""

    kind: str  # "average" or "max"
    window: Window
    low: int
    high: int

    rows_adjacent: ClassVar[bool] = True

    def streams(self, network: Network) -> bool:
        """Return whether the window has no gaps."""
        del network
        return self.window.dilation == (1, 1)

    @property
    def row_window(self) -> Window:
        """The window."""
        return self.window

    def clamped(self, low: int, high: int) -> Layer:
        """Return it with its results clamped once more."""
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))

    def work(self, network: Network, by_rows: bool) -> Work:
        """Return rows, outputs, and values under the windows."""
        del by_rows
        made, (tall, wide) = network.values[self.output].shape, self.window.kernel
        outputs = math.prod(made)
        return f"pool {self.kind}", (made[0], outputs, outputs * tall * wide)

    def data(self, network: Network, name: str) -> LayerData:
        """Return the kernel's constants."""
        (height, width, channels), made = network.values[self.inputs[0]].shape, network.values[self.output].shape
        window = self.window
        fields = [
            *(("height", height), ("width", width), ("channels", channels)),
            *(("out_height", made[0]), ("out_width", made[1])),
            *(("kernel_h", window.kernel[0]), ("kernel_w", window.kernel[1])),
            *(("stride_h", window.stride[0]), ("stride_w", window.stride[1])),
            *(("top", window.padding[0]), ("left", window.padding[2]), ("low", self.low), ("high", self.high)),
        ]
        return LayerData(struct("nw_pool_constants", f"{name}_constants", fields), frozenset({"pool"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole image."""
        del network, scratch
        return f"nw_{self.kind}_pool({inputs[0]}, {out}, &{name}_constants);"

    def row(self, network: Network, name: str, place: RowPlace) -> list[str]:
        """Return the call on the rows under the window."""
        del network
        lines, first, stride = place.neighbours()
        return [*lines, f"nw_{self.kind}_pool_row({first}, rows, {stride}, {place.out}, &{name}_constants);"]


def lower(work: Lowering, op: Op) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D; the largest value takes in padding that no value is below."""
    (given, *_), kind = work.operands(op), "average" if op.kind == "tflite.AVERAGE_POOL_2D" else "max"
    waiting = work.padded(given) if given is not None and kind == "max" else None
    if waiting and waiting.fill == -128 and not waiting.before[2] and not waiting.after[2]:
        source, extra = waiting.source, (waiting.before[:2], waiting.after[:2])
    else:
        source, extra = work.value(op, given), ((0, 0), (0, 0))
    shape, wanted = work.values[source].shape, work.model.graph.tensors[op.outputs[0]].shape
    if len(shape) != 3 or len(wanted) != 4 or wanted[0] != 1 or wanted[3] != shape[2]:
        raise work.refuse(
            op, f"it reads {shape} and makes {wanted}", "One image as (1, height, width, channels) is compiled."
        )
    kernel = op.arguments["filter_height"], op.arguments["filter_width"]
    stride = op.arguments["stride_h"], op.arguments["stride_w"]
    slides = window(work, op, shape, extra, (kernel, stride, (1, 1)), wanted)
    if max(slides.padding[0], slides.padding[1]) >= kernel[0] or max(slides.padding[2], slides.padding[3]) >= kernel[1]:
        raise work.refuse(op, "some of its windows hold padding only", "Pad less than the window's sides.")
    if kernel[0] * kernel[1] > 1 << 16:
        raise work.refuse(op, f"its window {kernel} is too large", "At most 65,536 places.")
    if given is None or work.quantization(op, given) != work.quantization(op, op.outputs[0]):
        raise work.refuse(op, "its output has another scale or zero point than its input", "Convert the model again.")
    low, high = work.clamp(op, op.outputs[0])
    output = work.make(op, op.outputs[0])
    work.layers.append(Pool((source,), output, op.path, kind, slides, low, high))


OPERATOR = Operator(("AVERAGE_POOL_2D", "MAX_POOL_2D"), lower, Pool)
