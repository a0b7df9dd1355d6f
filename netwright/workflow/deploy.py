"""One network of a run as a verified artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.workflow.archs import choose
from netwright.workflow.open import OpenRun, open_run

if TYPE_CHECKING:
    from torch import nn

    from netwright.cost.figures import Figure
    from netwright.deployment.artifact import Artifact
    from netwright.deployment.targets import Exported, Target
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace
    from netwright.tasks.task import Task

SECONDS = 3.0  # of timing


def deploy(
    run: str | Path | OpenRun,
    arch: Any = "best",
    *,
    to: str | Target = "onnx",
    out: str | Path,
    fine_tune: float = 0.0,
    space: GivenSpace | None = None,
    task: str | Task | None = None,
    calibration_images: int = 1024,
    found: dict[str, Any] | None = None,
) -> Artifact:
    """Extract a network, export it, verify it against its source on the validation images, and write its card.

    Args:
        run: the run directory of a trained supernet, or the run, opened.
        arch: best (of the latest search), front:N, smallest, largest, a JSON file, an `Arch`, or what a search lists.
        to: the format: a name, FILE.py:NAME, or a function (see `deployment.targets`).
        out: the folder for the artifact; an earlier artifact there is replaced when the new one is finished.
        fine_tune: epochs of further training before the export.
        space: the run's space again, where it is your own.
        task: the run's task again, where it is your own.
        calibration_images: training images that BatchNorm statistics are measured on.
        found: the search whose places `arch` names; None: the latest.

    Raises:
        NetwrightError: a wrong name or path, no such network, or the export computes something else; nothing is written then.
    """
    from netwright.core.json_lines import append_line
    from netwright.core.progress import say
    from netwright.deployment.artifact import check_folder, make_artifact
    from netwright.deployment.targets import TARGETS
    from netwright.models.own_space import record_of

    target = TARGETS.find(to)
    if not isinstance(fine_tune, int | float) or not 0 <= fine_tune < float("inf"):
        raise NetwrightError(f"fine_tune is {fine_tune!r}; it must be a number of epochs, 0 or greater.")
    opened = open_run(run, space=space, task=task)
    out = Path(out)
    check_folder(out)
    opened.require_trained()
    chosen, predicted = choose(opened, arch, found)
    say(f"extracting and exporting the network to {out}")
    net = extract(opened, chosen, fine_tune=fine_tune, calibration_images=calibration_images)
    budget = searched_for(opened, arch, chosen, found)
    artifact = make_artifact(
        net,
        to=target,
        arch=chosen,
        family=record_of(opened.config, opened.family),
        preparation=opened.preparation(chosen.resolution),
        classes=opened.config["data"]["classes"],
        task=opened.task,
        out_dir=out,
        images=opened.task.prepare(opened.dataset).val,
        predicted=predicted,
        origin=_origin(opened, chosen, fine_tune),
        measure=lambda exported, folder: measure_exported(opened.family, exported, chosen),
        budget=budget,
    )
    append_line(opened.path / "deployed.jsonl", {"folder": str(out), **artifact.to_json()})
    return artifact


def extract(run: OpenRun, arch: Arch, *, fine_tune: float = 0.0, calibration_images: int = 1024) -> nn.Module:
    """Cut a network out of the run's supernet, with the weights it was finished with, or calibrated and trained further
    where asked; on the CPU, in eval mode.
    """
    from netwright.core.state import load_state
    from netwright.training.evaluate import calibrated
    from netwright.training.load import load_tensors
    from netwright.training.loop import train_network
    from netwright.training.recipe import recipe
    from netwright.workflow.finish import finished_weights, teacher_of

    finished = None if fine_tune else finished_weights(run, arch)
    if finished is not None:
        net = run.supernet.copy_of(arch)
        load_tensors(net, load_state(finished), "weights")
        return net.cpu().eval()
    net = calibrated(run.supernet, arch, run.training, calibration_images=calibration_images)
    if fine_tune:
        teacher = teacher_of(run, arch.resolution, calibration_images)
        plan = recipe("fine-tuning", epochs=fine_tune)
        net = train_network(net, run.training, plan, resolution=arch.resolution, teacher=teacher, task=run.task)
    return net.cpu().eval()


def searched_for(run: OpenRun, asked: Any, arch: Arch, found: dict[str, Any] | None = None) -> dict[str, float]:
    """Return the limits, by key, that a network was searched for on this machine; empty where there are none to hold it to.

    `asked`: what names it; `found`: the search whose places it names, None: the latest.
    """
    from netwright.device.machine import THIS

    by_hand = isinstance(asked, Path) or (isinstance(asked, str) and asked != "best" and not asked.startswith("front:"))
    if found is None and (by_hand or not (run.path / "search").is_dir()):
        return {}
    search = found or run.latest_search()
    listed = (one.get("arch") for one in [*search["candidates"], *search["front"]])
    return dict(search["budget"]) if search["device"] == THIS and arch.to_json() in listed else {}


def measure_exported(made: Family, exported: Exported, arch: Arch) -> Figure:
    """Return the latency of an exported network on this machine, batch 1, one thread, with how and when it was measured."""
    from netwright.device.measure import measure_programs
    from netwright.workflow.measure import kept_model, measured_figures, warn_of_doubt

    model = kept_model(made)
    if model is not None:
        warn_of_doubt(model)
    timing = measure_programs([(exported.program, (3, arch.resolution, arch.resolution))], seconds=SECONDS)
    return measured_figures(timing, f"the file itself, in {exported.runtime}", model)[0]


def _origin(run: OpenRun, arch: Arch, fine_tune: float) -> dict[str, str]:
    """Return texts on where a network comes from, for its card."""
    from netwright.workflow.finish import finished_result

    config, dataset = run.config, run.dataset
    finished = None if fine_tune else finished_result(run, arch)
    return {
        "run": run.path.resolve().name,
        "space": config["space"],
        "training data": f"{dataset.name}, {len(run.training.train)} images for training, {len(run.held_out)} for choosing, "
        f"{len(dataset.val)} for validation",
        **({"training data since then": dataset.changes} if dataset.changes else {}),
        "training": f"{config['recipe'].get('method')}, {config['recipe'].get('epochs')} epochs"
        + (f", then {fine_tune:g} epochs of fine-tuning" if fine_tune else "")
        + (f", then {finished['epochs']:g} epochs alone, taught by the largest network" if finished else ""),
        "selection": f"by {run.metric.key} on images held out from training; the validation images had no part in it",
    }
