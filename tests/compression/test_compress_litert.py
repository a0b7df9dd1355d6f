"""Quantized modules written as .tflite, in LiteRT's reference kernels: the same integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.graph.files.tflite_writer import write_tflite
from netwright.graph.integers.interpret import interpret
from tests.compression.folding import settled
from tests.compression.test_fold import FUNCTIONS, LAYERS, Apply, images

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra `litert` is not installed")


@pytest.mark.parametrize("name", [*FUNCTIONS, *LAYERS])
def test_litert_gets_the_same_integers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = images()
    module = Apply(FUNCTIONS[name][0]) if name in FUNCTIONS else settled(LAYERS[name][0](), x)
    model = quantize(module, [x])
    path = tmp_path / "model.tflite"
    write_tflite(model, path)
    theirs = litert.Interpreter(str(path), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    theirs.allocate_tensors()
    stored = to_integers(model, x)
    wanted = interpret(model, [stored])[0]
    for place, image in enumerate(stored):
        theirs.set_tensor(theirs.get_input_details()[0]["index"], image[None])
        theirs.invoke()
        got = theirs.get_tensor(theirs.get_output_details()[0]["index"])
        np.testing.assert_array_equal(got, wanted[place : place + 1])
