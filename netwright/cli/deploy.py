"""`netwright deploy`: one found network as a verified artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import unknown

if TYPE_CHECKING:
    from torch import nn

    from netwright.core.run import Run
    from netwright.cost.figures import Cost
    from netwright.data.images import Dataset
    from netwright.deployment.onnx import Artifact
    from netwright.models.arch import Arch

TARGETS = ("onnx",)


def deploy(
    run: Annotated[Path, typer.Argument(help="Run directory of a trained supernet.")],
    out: Annotated[Path, typer.Option(help="Folder for the artifact.")],
    arch: Annotated[
        str, typer.Option(help="best (of the latest search), front:N, smallest, largest, or a JSON file.")
    ] = "best",
    to: Annotated[str, typer.Option(help="Format: onnx.")] = "onnx",
    fine_tune: Annotated[float, typer.Option(help="Epochs of fine-tuning before the export.", min=0.0)] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Extract a network, export it, verify it against its source on real images, and write its card."""
    del json
    from netwright.cli.archs import choose
    from netwright.cli.workspace import has_model, open_run
    from netwright.deployment.onnx import check_folder

    if to not in TARGETS:
        raise unknown("Format", to, TARGETS)
    opened = open_run(run)
    check_folder(out)
    has_model(opened)
    chosen, predicted = choose(opened, arch)
    artifact = deploy_arch(opened, chosen, predicted, out, fine_tune=fine_tune)
    return Result({"folder": str(out), **artifact.to_json()}, describe(artifact))


def deploy_arch(
    run: Run, arch: Arch, predicted: Cost, out: Path, *, fine_tune: float = 0.0, calibration_images: int = 1024
) -> Artifact:
    """Extract, fine-tune where asked, deploy to ONNX, and note the artifact in the run."""
    from netwright.cli.workspace import dataset_of, family_of, training_part
    from netwright.core.files import append_line
    from netwright.core.progress import say
    from netwright.deployment.onnx import deploy_onnx

    made, dataset = family_of(run), dataset_of(run)
    say(f"extracting and exporting the network to {out}")
    net = extract(run, arch, training_part(run, dataset), fine_tune, calibration_images)
    data = run.config["data"]
    origin = {
        "run": run.path.resolve().name,
        "space": run.config["space"],
        "training data": f"{dataset.name}, {len(dataset.train)} images for training, {len(dataset.val)} for validation",
        "training": f"{run.config['recipe'].get('method')}, {run.config['recipe'].get('epochs')} epochs"
        + (f", then {fine_tune:g} epochs of fine-tuning" if fine_tune else ""),
        "selection": "by accuracy on images held out from training; the validation images had no part in it",
    }
    artifact = deploy_onnx(
        net,
        arch=arch,
        space=run.config["space"],
        settings=dict(made.settings),
        classes=data["classes"],
        mean=data["mean"],
        std=data["std"],
        resolution=arch.resolution,
        out_dir=out,
        images=dataset.val,
        predicted=predicted,
        origin=origin,
        measure=lambda path: measure_file(path, arch.resolution),
    )
    append_line(run.path / "deployed.jsonl", {"folder": str(out), **artifact.to_json()})
    return artifact


def extract(run: Run, arch: Arch, dataset: Dataset, fine_tune: float, calibration_images: int) -> nn.Module:
    """Cut a network out of the run's supernet, calibrate it, and train it further where asked."""
    from netwright.data.loader import calibration_batches
    from netwright.training.load import load_supernet
    from netwright.training.loop import train_network
    from netwright.training.recipe import fine_tuning

    supernet = load_supernet(run)
    calibration = calibration_batches(dataset, resolution=arch.resolution, images=calibration_images)
    net = supernet.extract(arch, calibration)
    if fine_tune:
        largest = supernet.family.space.largest()
        teacher = supernet.extract(largest, calibration)
        train_network(net, dataset, fine_tuning(epochs=fine_tune), resolution=arch.resolution, teacher=teacher)
    return net.cpu().eval()


def describe(artifact: Artifact) -> list[Any]:
    """Return the closing lines for people."""
    checked, predicted = artifact.verification, artifact.predicted.latency_ms
    expected = f" (predicted {predicted.value:.3g} ms)" if predicted else ""
    return [
        f"{artifact.folder}: model.onnx, its card README.md, model.json, and the weights as model.safetensors",
        f"latency {artifact.latency_ms.value:.3g} ms measured{expected}, batch 1, one thread",
        f"top-1 accuracy {checked.accuracy_deployed:.2f} % in ONNX Runtime, {checked.accuracy_source:.2f} % in PyTorch, "
        f"same answer for {checked.agreement:.2f} % of {checked.images} images, "
        f"largest difference {checked.max_abs_difference:.1e}",
    ]


def measure_file(path: Path, resolution: int) -> float:
    """Return the latency of an ONNX file in milliseconds."""
    from netwright.device.measure import measure_program
    from netwright.runtime.onnxruntime import load

    return measure_program(load(path), (3, resolution, resolution))
