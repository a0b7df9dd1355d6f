"""ONNX QDQ of quantized networks in ONNX Runtime, against the integer interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from netwright.compression.quantization.post_training import quantize, to_integers
from netwright.compression.quantization.qdq import write_qdq
from netwright.core.errors import NetwrightError
from netwright.graph.integers.interpret import interpret
from netwright.graph.integers.quantized import QuantizedGraph
from tests.compression.folding import settled
from tests.compression.test_fold import FUNCTIONS, LAYERS, Apply, images


def run(model: QuantizedGraph, stored: Any, path: Path) -> Any:
    write_qdq(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # CPUs without VNNI otherwise add pairs of products in 16 bits, which saturate.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: stored})[0]


@pytest.mark.parametrize("name", [*FUNCTIONS, *LAYERS])
def test_onnx_runtime_gets_the_same_integers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = images()
    module = Apply(FUNCTIONS[name][0]) if name in FUNCTIONS else settled(LAYERS[name][0](), x)
    model = quantize(module, [x])
    stored = to_integers(model, x)
    got = run(model, stored, tmp_path / "model.onnx")
    wanted = interpret(model, [stored])[0]
    assert got.dtype == wanted.dtype == np.int8
    assert got.shape == wanted.shape
    difference = np.abs(got.astype(int) - wanted)
    # Rounding differs in the convolution and behind it, and hard swish is coarse in TensorFlow Lite.
    assert difference.max() <= 3
    assert (difference > 0).mean() < 0.15


def test_an_operator_without_a_form_is_named(tmp_path: Path) -> None:
    model = quantize(Apply(lambda x: x), [images()])
    (op,) = model.graph.ops
    object.__setattr__(op, "kind", "tflite.SVDF")
    with pytest.raises(NetwrightError, match=r"SVDF 'conv' is not written as ONNX"):
        write_qdq(model, tmp_path / "model.onnx")
