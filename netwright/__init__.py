"""From a vision dataset, a device and a budget to the best network that fits, measured on that device.

The public names below load their modules when they are first used, so that `import netwright` loads no torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.compress import quantize
    from netwright.core.arch import Arch
    from netwright.core.errors import NetwrightError
    from netwright.core.run import Run
    from netwright.cost.count import count
    from netwright.cost.profile import Profile, profile
    from netwright.data import Augment, Dataset, ImageSet, Loader, calibration_batches, eval_batches, load_dataset
    from netwright.deploy.network import load_network
    from netwright.deploy.onnx import Artifact, deploy_onnx
    from netwright.device.latency import LatencyModel
    from netwright.device.machine import Machine
    from netwright.device.machines import machine
    from netwright.graph.graph import Graph
    from netwright.graph.interpret import interpret
    from netwright.graph.quantized import QuantizedGraph
    from netwright.graph.tflite import load_tflite
    from netwright.graph.tflite_writer import write_tflite
    from netwright.graph.trace import capture
    from netwright.mcu.compile import compile_network
    from netwright.mcu.emulate import emulate
    from netwright.nn.block import Block
    from netwright.search.candidates import Result
    from netwright.search.limits import Budget
    from netwright.search.predictor import AccuracyPredictor
    from netwright.search.specialize import Specialization, specialize
    from netwright.search.tables import AdditiveTable
    from netwright.supernet.calibrate import calibrate
    from netwright.supernet.family import Family
    from netwright.supernet.space import SearchSpace
    from netwright.supernet.spaces import SPACES, family
    from netwright.supernet.supernet import Supernet
    from netwright.train.evaluate import accuracy, subnet_accuracy
    from netwright.train.load import load_supernet
    from netwright.train.loop import train_network, train_supernet
    from netwright.train.recipe import (
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
    "quantize",
    "random_sampling",
    "sandwich",
    "specialize",
    "static_training",
    "subnet_accuracy",
    "train_network",
    "train_supernet",
    "write_tflite",
]

_WHERE = {
    "netwright.core.arch": ("Arch",),
    "netwright.core.errors": ("NetwrightError",),
    "netwright.core.run": ("Run",),
    "netwright.compress": ("quantize",),
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
    "netwright.deploy.network": ("load_network",),
    "netwright.deploy.onnx": ("Artifact", "deploy_onnx"),
    "netwright.device.latency": ("LatencyModel",),
    "netwright.device.machine": ("Machine",),
    "netwright.device.machines": ("machine",),
    "netwright.graph.graph": ("Graph",),
    "netwright.graph.interpret": ("interpret",),
    "netwright.graph.quantized": ("QuantizedGraph",),
    "netwright.graph.tflite": ("load_tflite",),
    "netwright.graph.tflite_writer": ("write_tflite",),
    "netwright.graph.trace": ("capture",),
    "netwright.mcu.compile": ("compile_network",),
    "netwright.mcu.emulate": ("emulate",),
    "netwright.nn.block": ("Block",),
    "netwright.search.candidates": ("Result",),
    "netwright.search.limits": ("Budget",),
    "netwright.search.predictor": ("AccuracyPredictor",),
    "netwright.search.specialize": ("Specialization", "specialize"),
    "netwright.search.tables": ("AdditiveTable",),
    "netwright.supernet.calibrate": ("calibrate",),
    "netwright.supernet.family": ("Family",),
    "netwright.supernet.space": ("SearchSpace",),
    "netwright.supernet.spaces": ("SPACES", "family"),
    "netwright.supernet.supernet": ("Supernet",),
    "netwright.train.evaluate": ("accuracy", "subnet_accuracy"),
    "netwright.train.load": ("load_supernet",),
    "netwright.train.loop": ("train_network", "train_supernet"),
    "netwright.train.recipe": (
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
