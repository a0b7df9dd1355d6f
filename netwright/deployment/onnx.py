"""From a network to a verified ONNX artifact: a folder with the model, its contract, its weights and its card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.files import publish_folder, write_bytes, write_json
from netwright.core.run import environment
from netwright.cost.figures import Cost, Figure
from netwright.data.images import ImageSet
from netwright.deployment.card import card
from netwright.deployment.contract import Contract
from netwright.deployment.network import save_network
from netwright.deployment.verify import TOLERANCE, Verification, verify
from netwright.models.arch import Arch
from netwright.runtime import onnxruntime
from netwright.runtime.export import export_onnx
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS

FILES = ("model.onnx", "model.safetensors", "arch.json", "model.json", "README.md")


@dataclass(frozen=True)
class Artifact:
    """A deployed network: where it is, what was promised, what was found."""

    folder: Path
    arch: Arch
    predicted: Cost
    latency_ms: Figure
    verification: Verification

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as they stand in model.json."""
        return {
            "arch": self.arch.to_json(),
            "predicted": self.predicted.to_json(),
            "latency_ms": self.latency_ms.to_json(),
            "verification": self.verification.to_json(),
        }


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
    """Export, verify, measure, and only then put the artifact into `out_dir`.

    Args:
        net: the extracted network, calibrated, in eval mode.
        images: real images with labels, on which the export is compared with `net`.
        origin: texts for the card: where the network comes from.
        measure: returns the latency in milliseconds of an ONNX file on this machine.
        task: a name in TASKS, FILE.py:NAME, or a Task.

    Raises:
        NetwrightError: the network cannot be exported, the export computes something else, or nothing can be written.
    """
    out_dir = Path(out_dir)
    check_folder(out_dir)
    task = TASKS.find(task)
    outputs = task.contract(tuple(classes))
    contract = Contract(resolution, tuple(mean), tuple(std), tuple(classes), output_name=outputs.name, task=task.name)
    with tempfile.TemporaryDirectory(prefix="netwright-") as scratch:
        folder = Path(scratch)
        metadata = {**contract.to_metadata(), **{f"origin_{key}": json.dumps(value) for key, value in origin.items()}}
        model = export_onnx(
            net, (3, resolution, resolution), folder / "model.onnx", metadata=metadata, output_name=outputs.name
        )
        verification = verify(net, onnxruntime.load(model), images, contract, task=task)
        if not verification.passed:
            raise NetwrightError(
                f"The exported network differs from its source by {verification.max_abs_difference:.3g} on real images, "
                f"more than {TOLERANCE:g} of the largest output {verification.scale:.3g}. Nothing was written to {out_dir}."
            )
        latency = Figure(measure(model), "measured")
        artifact = Artifact(out_dir, arch, predicted, latency, verification)
        save_network(folder, net, space=space, settings=settings, arch=arch)
        machine = environment()
        about = {"schema": 1, "input": contract.to_json(), **artifact.to_json(), "origin": dict(origin)}
        write_json(folder / "model.json", {**about, "environment": machine})
        score = Figure(verification.deployed, "measured")
        text = card(
            name=out_dir.resolve().name,
            contract=contract,
            outputs=outputs,
            arch=arch,
            predicted=predicted,
            measured={"latency_ms": latency, task.metric.key: score},
            verification=verification,
            origin=origin,
            environment=machine,
        )
        write_bytes(folder / "README.md", text.encode())
        publish_folder(folder, out_dir, FILES)
    return artifact


def check_folder(out_dir: Path) -> None:
    """Refuse a place that holds something else than an artifact.

    Raises:
        NetwrightError: it is a file, or a folder with other files and no model.json.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise NetwrightError(f"{out_dir} is a file. Choose another --out: it names a folder.")
    if out_dir.exists() and any(out_dir.iterdir()) and not (out_dir / "model.json").exists():
        raise NetwrightError(f"{out_dir} holds other files and no netwright artifact. Choose another --out.")
