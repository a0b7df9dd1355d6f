"""`netwright deploy`: one found network as a verified artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import SPACE_AGAIN, Result
from netwright.deployment.targets import TARGETS

if TYPE_CHECKING:
    from netwright.deployment.artifact import Artifact


def deploy(
    run: Annotated[Path, typer.Argument(help="Run directory of a trained supernet.")],
    out: Annotated[Path, typer.Option(help="Folder for the artifact.")],
    arch: Annotated[
        str, typer.Option(help="best (of the latest search), front:N, smallest, largest, or a JSON file.")
    ] = "best",
    to: Annotated[str, typer.Option(help=f"Format: {TARGETS.help}.")] = "onnx",
    fine_tune: Annotated[float, typer.Option(help="Epochs of fine-tuning before the export.", min=0.0)] = 0.0,
    space: Annotated[str | None, typer.Option(help=SPACE_AGAIN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Extract a network, export it, verify it against its source on real images, and write its card."""
    del json
    from netwright.workflow.deploy import deploy as deploy_network

    artifact = deploy_network(run, arch, to=to, out=out, fine_tune=fine_tune, space=space)
    return Result({"folder": str(out), **artifact.to_json()}, describe(artifact))


def describe(artifact: Artifact) -> list[Any]:
    """Return the closing lines for people."""
    checked, predicted = artifact.verification, artifact.predicted.latency_ms
    expected = f" (predicted {predicted.value:.3g} ms)" if predicted else ""
    files = ", ".join(artifact.files)
    return [
        f"{artifact.folder}: {files}, its card README.md, model.json, and the weights as model.safetensors",
        f"latency {artifact.latency_ms.value:.3g} ms measured{expected}, batch 1, one thread",
        f"top-1 accuracy {checked.accuracy_deployed:.2f} % in {artifact.runtime}, {checked.accuracy_source:.2f} % in PyTorch, "
        f"same answer for {checked.agreement:.2f} % of {checked.images} images, "
        f"largest difference {checked.max_abs_difference:.1e}",
    ]
