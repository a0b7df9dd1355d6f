"""`netwright deploy`: one found network as a verified artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import SPACE_AGAIN, TASK_AGAIN, Result
from netwright.deployment.targets import TARGETS
from netwright.searching.limits.table import exceeded_text

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
    task: Annotated[str | None, typer.Option(help=TASK_AGAIN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Extract a network, export it, and verify the result.

    The exported network is compared with its source on real images; a model card says what was found.
    """
    del json
    from netwright.workflow.deploy import deploy as deploy_network

    artifact = deploy_network(run, arch, to=to, out=out, fine_tune=fine_tune, space=space, task=task)
    return Result({"folder": str(out), **artifact.to_json()}, describe(artifact))


def describe(artifact: Artifact) -> list[Any]:
    """Return the closing lines for people."""
    checked, predicted = artifact.verification, artifact.predicted.latency_ms
    expected = f" (predicted {predicted.value:.3g} ms)" if predicted else ""
    metric = checked.metric
    same = (
        f"{metric.name} with the source's answers as truth {metric.text(checked.agreement)} on {checked.images} images"
    )
    if metric.key == "accuracy":
        same = f"same answer for {metric.text(checked.agreement)} of {checked.images} images"
    files = ", ".join(artifact.files)
    above = exceeded_text(artifact.exceeds)
    marked = f"; {above}, the limit that it was searched for" if above else ""
    how = f" ({artifact.latency_ms.source})" if artifact.latency_ms.source else ""
    return [
        f"{artifact.folder}: {files}, its card README.md, model.json, and the weights as model.safetensors",
        f"latency {artifact.latency_ms.value:.3g} ms measured{expected}, batch 1, one thread{marked}{how}",
        f"{metric.name} {metric.text(checked.deployed)} in {artifact.runtime}, {metric.text(checked.source)} in PyTorch, "
        f"{same}, largest difference {checked.max_abs_difference:.1e}",
    ]
