"""A verified artifact in any format: a folder with the model, its contract, its weights and its card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.files import publish_folder, write_bytes, write_json
from netwright.core.run import environment
from netwright.core.tables import name_of
from netwright.cost.figures import Cost, Figure
from netwright.data.images import ImageSet
from netwright.data.preparation import Preparation
from netwright.deployment.card import card
from netwright.deployment.contract import Contract
from netwright.deployment.network import save_network
from netwright.deployment.targets import TARGETS, Exported, Target
from netwright.deployment.verify import TOLERANCE, Verification, verify
from netwright.models.arch import Arch
from netwright.searching.limits.table import exceeded, exceeded_text
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS

BESIDE = ("model.safetensors", "arch.json", "model.json", "README.md")


@dataclass(frozen=True)
class Artifact:
    """A deployed network: where it is, what was promised, what was found.

    Attributes:
        files: the files of the format itself, the model first; the card and the weights are beside them.
        runtime: what ran it for the verification.
        budget: the limits that it was searched for on this machine, by key; empty where there are none.
    """

    folder: Path
    arch: Arch
    predicted: Cost
    latency_ms: Figure
    verification: Verification
    files: tuple[str, ...] = ("model.onnx",)
    runtime: str = "ONNX Runtime"
    budget: Mapping[str, float] = field(default_factory=dict)

    @property
    def exceeds(self) -> dict[str, float]:
        """The limits, by key, that the deployed network was measured to be above."""
        return exceeded(self.budget, {"latency_ms": self.latency_ms.value})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as they are in model.json."""
        return {
            "arch": self.arch.to_json(),
            "predicted": self.predicted.to_json(),
            "latency_ms": self.latency_ms.to_json(),
            "verification": self.verification.to_json(),
            "budget": dict(self.budget),
            "exceeds": self.exceeds,
        }


def make_artifact(
    net: nn.Module,
    *,
    to: str | Target,
    arch: Arch,
    family: Mapping[str, Any],
    preparation: Preparation,
    classes: Sequence[str],
    task: str | Task,
    out_dir: str | Path,
    images: ImageSet,
    predicted: Cost,
    origin: Mapping[str, Any],
    measure: Callable[[Exported, Path], float | Figure],
    budget: Mapping[str, float] | None = None,
) -> Artifact:
    """Export, verify, measure, and only then put the artifact into `out_dir`.

    Args:
        net: the extracted network, calibrated, in eval mode.
        to: the format: a name, FILE.py:NAME, or a target's function.
        family: the family's record (`models.own_space.record_family`), from which `load_network` makes the network again.
        preparation: from an image file to the network's input.
        classes: of the data set; of a classifier, the meaning of each logit, in order.
        task: what the network is for: a name in TASKS, FILE.py:NAME, or a Task.
        images: real images with their targets, on which the export is compared with `net`.
        origin: texts for the card: where the network comes from.
        measure: returns the latency in milliseconds, on this machine, of what was exported into a folder; as a figure, it
            says how.
        budget: limits on the network on this machine, by the keys of `LIMITS`; what it exceeds is written everywhere.

    Raises:
        NetwrightError: no such format, the network cannot be exported, the export computes something else, or nothing can
            be written.
    """
    export, task = TARGETS.find(to), TASKS.find(task)
    out_dir = Path(out_dir)
    check_folder(out_dir)
    outputs = task.contract(tuple(classes))
    contract = Contract(preparation, tuple(classes), output_name=outputs.name, task=task.name)
    with tempfile.TemporaryDirectory(prefix="netwright-") as scratch:
        folder = Path(scratch)
        exported = _checked(export(net, contract, folder, origin), folder, to)
        verification = verify(net, exported.program, images, contract, task=task)
        if not verification.passed:
            raise NetwrightError(
                f"The exported network differs from its source by {verification.max_abs_difference:.3g} on real images, "
                f"more than {TOLERANCE:g} of the largest output {verification.scale:.3g}. Nothing was written to {out_dir}."
            )
        found = measure(exported, folder)
        latency = found if isinstance(found, Figure) else Figure(found, "measured")
        made = (exported.files, exported.runtime, dict(budget or {}))
        artifact = Artifact(out_dir, arch, predicted, latency, verification, *made)
        save_network(folder, net, arch=arch, **family)
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
            usage=exported.usage,
            exceeds=exceeded_text(artifact.exceeds),
        )
        write_bytes(folder / "README.md", text.encode())
        publish_folder(folder, out_dir, (*exported.files, *BESIDE))
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


def _checked(exported: Any, folder: Path, to: str | Target) -> Exported:
    name = name_of(to)
    if not isinstance(exported, Exported):
        raise NetwrightError(f"Format {name!r} returned a {type(exported).__name__}; an Exported is needed.")
    lacking = [file for file in exported.files if not (folder / file).is_file()]
    if lacking or not exported.files:
        raise NetwrightError(f"Format {name!r} did not write {', '.join(lacking) or 'any file'}.")
    taken = set(exported.files) & set(BESIDE)
    if taken:
        raise NetwrightError(f"Format {name!r} wrote {', '.join(sorted(taken))}, which netwright writes itself.")
    return exported
