"""Interpolation of images: layer, lowering rule, C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.graph.graph import Op
from netwright.graph.integers.moves import nearest_indices
from netwright.graph.integers.reduce import bilinear_places
from netwright.mcu.code import LayerData, array
from netwright.mcu.layer import Layer, Network
from netwright.mcu.operators import move
from netwright.mcu.operators.operator import Operator
from netwright.mcu.operators.shared.lowering import Lowering


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """Interpolation between pixels; for each output row and column (lower, upper, weight of the upper of 1024).

    Nearest neighbours have weights of 0 (resize_bilinear.h, ResizeBilinearInteger).
    """

    rows: NDArray[np.int16]
    columns: NDArray[np.int16]

    def data(self, network: Network, name: str) -> LayerData:
        """Return both tables."""
        del network
        tables = array(f"{name}_rows", self.rows) + array(f"{name}_columns", self.columns)
        return LayerData(tables, frozenset({"resize"}))

    def call(self, network: Network, name: str, inputs: Sequence[str], out: str, scratch: str) -> str:
        """Return the call on a whole image."""
        del scratch
        given_width = network.values[self.inputs[0]].shape[1]
        height, width, channels = network.values[self.output].shape
        sizes = f"{given_width}, {channels}, {out}, {height}, {width}"
        return f"nw_resize({inputs[0]}, {sizes}, {name}_rows, {name}_columns);"


def lower(work: Lowering, op: Op) -> None:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR; whole factors of the latter are copies."""
    nearest = op.kind == "tflite.RESIZE_NEAREST_NEIGHBOR"
    move.check_size(work, op, op.kind.removeprefix("tflite."))
    tensors = work.operands(op)
    source = work.value(op, tensors[0])
    shape, made = work.values[source].shape, work.shape(op.outputs[0])
    sizes = work.integers(op, tensors[1] if len(tensors) > 1 else None, "size")
    if (
        len(shape) != 3
        or len(made) != 3
        or (*sizes, shape[2]) != made
        or max(*shape, *made) > 1 << 14
        or 0 in (*shape, *made)
    ):
        raise work.refuse(op, f"it makes {made} of {shape}", "One image is resized, of sides from 1 to 16,384.")
    options = {"align": bool(op.arguments["align_corners"]), "half": bool(op.arguments["half_pixel_centers"])}
    if (
        nearest
        and all(side <= other and other % side == 0 for side, other in zip(shape, made, strict=True))
        and not options["align"]
    ):
        move.lower(work, op)
        return
    tables = []
    for side, other in zip(shape[:2], made[:2], strict=True):
        if nearest:
            index = nearest_indices(side, other, **options)
            table = np.stack([index, index, np.zeros_like(index)], axis=1)
        else:
            table = np.stack(bilinear_places(side, other, **options), axis=1)
        tables.append(table.astype(np.int16))
    work.layers.append(Resize((source,), work.make(op, op.outputs[0]), op.path, *tables))


OPERATOR = Operator(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), lower, Resize)
