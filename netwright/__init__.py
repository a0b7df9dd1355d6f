"""From a vision dataset, a device and a budget to the best network that fits, measured on that device.

The public names below load their modules when they are first used, so that `import netwright` loads no torch. What type
checkers and editors read is `__init__.pyi`, written from the same table by `tools/write_stub.py`.
"""

from importlib import import_module
from typing import Any

PUBLIC = {
    "RECIPES": "netwright.training.recipe:RECIPES",
    "SPACES": "netwright.models.families:SPACES",
    "AccuracyPredictor": "netwright.searching.predictor:AccuracyPredictor",
    "AdditiveTable": "netwright.searching.tables:AdditiveTable",
    "Arch": "netwright.models.arch:Arch",
    "Artifact": "netwright.deployment.artifact:Artifact",
    "Augment": "netwright.data:Augment",
    "Block": "netwright.nn.block:Block",
    "Budget": "netwright.searching.limits.budget:Budget",
    "Dataset": "netwright.data:Dataset",
    "Family": "netwright.models.family:Family",
    "Finished": "netwright.workflow.finish:Finished",
    "Found": "netwright.workflow.search:Found",
    "Graph": "netwright.graph.graph:Graph",
    "ImageSet": "netwright.data:ImageSet",
    "LatencyModel": "netwright.device.latency:LatencyModel",
    "Loader": "netwright.data:Loader",
    "Machine": "netwright.device.machine:Machine",
    "Metric": "netwright.core.metric:Metric",
    "NetwrightError": "netwright.core.errors:NetwrightError",
    "OpenRun": "netwright.workflow.open:OpenRun",
    "Profile": "netwright.cost.profile:Profile",
    "QuantizedGraph": "netwright.graph.integers.quantized:QuantizedGraph",
    "Recipe": "netwright.training.recipe:Recipe",
    "Result": "netwright.searching.candidates:Result",
    "Run": "netwright.core.run:Run",
    "SearchSpace": "netwright.models.space:SearchSpace",
    "Specialization": "netwright.specialization.specialize:Specialization",
    "Supernet": "netwright.supernet.supernet:Supernet",
    "Task": "netwright.tasks.task:Task",
    "accuracy": "netwright.training.evaluate:accuracy",
    "calibrate": "netwright.supernet.calibrate:calibrate",
    "calibration_batches": "netwright.data:calibration_batches",
    "capture": "netwright.graph.capture.trace:capture",
    "compile": "netwright.workflow.compile:compile",
    "compile_network": "netwright.mcu.compile:compile_network",
    "count": "netwright.cost.count:count",
    "deploy": "netwright.workflow.deploy:deploy",
    "deploy_onnx": "netwright.deployment.onnx:deploy_onnx",
    "emulate": "netwright.mcu.run.emulate:emulate",
    "eval_batches": "netwright.data:eval_batches",
    "family": "netwright.models.families:family",
    "finish": "netwright.workflow.finish:finish",
    "fine_tuning": "netwright.training.recipe:fine_tuning",
    "interpret": "netwright.graph.integers.interpret:interpret",
    "list_devices": "netwright.workflow.lists:list_devices",
    "list_spaces": "netwright.workflow.lists:list_spaces",
    "load_dataset": "netwright.data:load_dataset",
    "load_network": "netwright.deployment.network:load_network",
    "load_supernet": "netwright.training.load:load_supernet",
    "load_tflite": "netwright.graph.files.tflite:load_tflite",
    "machine": "netwright.device.machines:machine",
    "measure": "netwright.workflow.measure:measure_device",
    "open": "netwright.workflow.open:open_run",
    "profile": "netwright.workflow.profile:profile",
    "progressive_shrinking": "netwright.training.recipe:progressive_shrinking",
    "quantization_aware": "netwright.compression.quantization.qat:quantization_aware",
    "quantize": "netwright.compression.quantization.post_training:quantize",
    "quantize_aware": "netwright.compression.quantization.qat:quantize_aware",
    "random_sampling": "netwright.training.recipe:random_sampling",
    "sandwich": "netwright.training.recipe:sandwich",
    "search": "netwright.workflow.search:search",
    "specialize": "netwright.specialization.specialize:specialize",
    "static_training": "netwright.training.recipe:static_training",
    "subnet_accuracy": "netwright.training.evaluate:subnet_accuracy",
    "to_integers": "netwright.compression.quantization.post_training:to_integers",
    "train": "netwright.workflow.train:train",
    "train_network": "netwright.training.loop:train_network",
    "train_supernet": "netwright.training.loop:train_supernet",
    "write_qdq": "netwright.compression.quantization.qdq:write_qdq",
    "write_tflite": "netwright.graph.files.tflite_writer:write_tflite",
}

__all__ = [*PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("netwright")
    if name not in PUBLIC:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    module, _, attribute = PUBLIC[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
