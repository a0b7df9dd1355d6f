"""ONNX as a target: one self-contained file, which says what it expects, verified with ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from netwright.cost.figures import Cost
from netwright.data.images import ImageSet
from netwright.data.preparation import Preparation
from netwright.deployment.artifact import BESIDE, Artifact, make_artifact
from netwright.deployment.card import USAGE
from netwright.deployment.contract import Contract
from netwright.deployment.targets import Exported
from netwright.models.arch import Arch
from netwright.runtime import onnxruntime
from netwright.runtime.export import export_onnx
from netwright.tasks.task import Task

MODEL = "model.onnx"
FILES = (MODEL, *BESIDE)


def export(net: nn.Module, contract: Contract, folder: Path, origin: Mapping[str, Any]) -> Exported:
    """Write model.onnx, with the contract and the origin in its metadata.

    Raises:
        NetwrightError: the network holds an operation that cannot be exported.
    """
    metadata = {**contract.to_metadata(), **{f"origin_{key}": json.dumps(value) for key, value in origin.items()}}
    shape = (3, contract.size, contract.size)
    path = export_onnx(
        net,
        shape,
        folder / MODEL,
        metadata=metadata,
        output_name=contract.output_name,
    )
    return Exported((MODEL,), onnxruntime.load(path), "ONNX Runtime", USAGE)


def deploy_onnx(
    net: nn.Module,
    *,
    arch: Arch,
    space: str,
    settings: Mapping[str, Any],
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    resolution: int,
    out_dir: str | Path,
    images: ImageSet,
    predicted: Cost,
    origin: Mapping[str, Any],
    measure: Callable[[Path], float],
    task: str | Task = "classification",
) -> Artifact:
    """Deploy a network of a family that comes with netwright to ONNX; arguments as of `artifact.make_artifact`.

    Args:
        space: name of the family's space.
        settings: of the family.
        classes: the meaning of each logit, in order.
        mean: of the images, per channel, on the scale 0 to 1.
        std: of the images, likewise.
        resolution: height and width of the input in pixels.
        measure: returns the latency in milliseconds of an ONNX file on this machine.
        task: a name in TASKS, FILE.py:NAME, or a Task.

    Raises:
        NetwrightError: the network cannot be exported, the export computes something else, or nothing can be written.
    """
    return make_artifact(
        net,
        to="onnx",
        arch=arch,
        family={"space": space, "settings": dict(settings)},
        preparation=Preparation(resolution, resolution, tuple(mean), tuple(std), decoded_size=images.size),
        classes=classes,
        task=task,
        out_dir=out_dir,
        images=images,
        predicted=predicted,
        origin=origin,
        measure=lambda exported, folder: measure(folder / MODEL),
    )
