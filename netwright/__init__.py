"""From a vision dataset, a device and a budget to the best network that fits, measured on that device.

The public names below load their modules when they are first used, so that `import netwright` loads no torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.compression.quantization.post_training import quantize, to_integers
    from netwright.compression.quantization.qat import quantization_aware, quantize_aware
    from netwright.compression.quantization.qdq import write_qdq
    from netwright.core.errors import NetwrightError
    from netwright.core.run import Run
    from netwright.cost.count import count
    from netwright.cost.profile import Profile, profile
    from netwright.data import Augment, Dataset, ImageSet, Loader, calibration_batches, eval_batches, load_dataset
    from netwright.deployment.network import load_network
    from netwright.deployment.onnx import Artifact, deploy_onnx
    from netwright.device.latency import LatencyModel
    from netwright.device.machine import Machine
    from netwright.device.machines import machine
    from netwright.graph.capture.trace import capture
    from netwright.graph.files.tflite import load_tflite
    from netwright.graph.files.tflite_writer import write_tflite
    from netwright.graph.graph import Graph
    from netwright.graph.integers.interpret import interpret
    from netwright.graph.integers.quantized import QuantizedGraph
    from netwright.mcu.compile import compile_network
    from netwright.mcu.run.emulate import emulate
    from netwright.models.arch import Arch
    from netwright.models.families import SPACES, family
    from netwright.models.family import Family
    from netwright.models.space import SearchSpace
    from netwright.nn.block import Block
    from netwright.searching.candidates import Result
    from netwright.searching.limits.budget import Budget
    from netwright.searching.predictor import AccuracyPredictor
    from netwright.searching.tables import AdditiveTable
    from netwright.specialization.specialize import Specialization, specialize
    from netwright.supernet.calibrate import calibrate
    from netwright.supernet.supernet import Supernet
    from netwright.training.evaluate import accuracy, subnet_accuracy
    from netwright.training.load import load_supernet
    from netwright.training.loop import train_network, train_supernet
    from netwright.training.recipe import (
        RECIPES,
        Recipe,
        fine_tuning,
        progressive_shrinking,
        random_sampling,
        sandwich,
        static_training,
    )

__all__ = [
    "RECIPES",
    "SPACES",
    "AccuracyPredictor",
    "AdditiveTable",
    "Arch",
    "Artifact",
    "Augment",
    "Block",
    "Budget",
    "Dataset",
    "Family",
    "Graph",
    "ImageSet",
    "LatencyModel",
    "Loader",
    "Machine",
    "NetwrightError",
    "Profile",
    "QuantizedGraph",
    "Recipe",
    "Result",
    "Run",
    "SearchSpace",
    "Specialization",
    "Supernet",
    "accuracy",
    "calibrate",
    "calibration_batches",
    "capture",
    "compile_network",
    "count",
    "deploy_onnx",
    "emulate",
    "eval_batches",
    "family",
    "fine_tuning",
    "interpret",
    "load_dataset",
    "load_network",
    "load_supernet",
    "load_tflite",
    "machine",
    "profile",
    "progressive_shrinking",
    "quantization_aware",
    "quantize",
    "quantize_aware",
    "random_sampling",
    "sandwich",
    "specialize",
    "static_training",
    "subnet_accuracy",
    "to_integers",
    "train_network",
    "train_supernet",
    "write_qdq",
    "write_tflite",
]

_WHERE = {
    "netwright.models.arch": ("Arch",),
    "netwright.core.errors": ("NetwrightError",),
    "netwright.core.run": ("Run",),
    "netwright.compression.quantization.post_training": ("quantize", "to_integers"),
    "netwright.compression.quantization.qat": ("quantization_aware", "quantize_aware"),
    "netwright.compression.quantization.qdq": ("write_qdq",),
    "netwright.cost.count": ("count",),
    "netwright.cost.profile": ("Profile", "profile"),
    "netwright.data": (
        "Augment",
        "Dataset",
        "ImageSet",
        "Loader",
        "calibration_batches",
        "eval_batches",
        "load_dataset",
    ),
    "netwright.deployment.network": ("load_network",),
    "netwright.deployment.onnx": ("Artifact", "deploy_onnx"),
    "netwright.device.latency": ("LatencyModel",),
    "netwright.device.machine": ("Machine",),
    "netwright.device.machines": ("machine",),
    "netwright.graph.graph": ("Graph",),
    "netwright.graph.integers.interpret": ("interpret",),
    "netwright.graph.integers.quantized": ("QuantizedGraph",),
    "netwright.graph.files.tflite": ("load_tflite",),
    "netwright.graph.files.tflite_writer": ("write_tflite",),
    "netwright.graph.capture.trace": ("capture",),
    "netwright.mcu.compile": ("compile_network",),
    "netwright.mcu.run.emulate": ("emulate",),
    "netwright.nn.block": ("Block",),
    "netwright.searching.candidates": ("Result",),
    "netwright.searching.limits.budget": ("Budget",),
    "netwright.searching.predictor": ("AccuracyPredictor",),
    "netwright.specialization.specialize": ("Specialization", "specialize"),
    "netwright.searching.tables": ("AdditiveTable",),
    "netwright.supernet.calibrate": ("calibrate",),
    "netwright.models.family": ("Family",),
    "netwright.models.space": ("SearchSpace",),
    "netwright.models.families": ("SPACES", "family"),
    "netwright.supernet.supernet": ("Supernet",),
    "netwright.training.evaluate": ("accuracy", "subnet_accuracy"),
    "netwright.training.load": ("load_supernet",),
    "netwright.training.loop": ("train_network", "train_supernet"),
    "netwright.training.recipe": (
        "RECIPES",
        "Recipe",
        "fine_tuning",
        "progressive_shrinking",
        "random_sampling",
        "sandwich",
        "static_training",
    ),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("netwright")
    for module, names in _WHERE.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'netwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
