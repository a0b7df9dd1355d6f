"""Starting a supernet from trained weights: the largest network takes them, and its classifier is fitted to frozen features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.models.families import SPACES
from netwright.models.pretrained import STARTS

if TYPE_CHECKING:
    from netwright.models.own_space import GivenSpace
    from netwright.models.pretrained import Start
    from netwright.supernet.supernet import Supernet
    from netwright.workflow.open import OpenRun


def start_record(start: Start, weights: str | Path | None) -> dict[str, Any]:
    """Return what a run's config says of its start.

    Raises:
        NetwrightError: there is no such file of weights.
    """
    if weights is None:
        return {"name": start.name}
    path = Path(weights)
    if not path.is_file():
        raise NetwrightError(f"--weights: there is no file {path}.")
    return {"name": start.name, "weights": str(path.resolve())}


def space_of(
    start: Start | None, space: GivenSpace | None, settings: dict[str, Any]
) -> tuple[GivenSpace, dict[str, Any]]:
    """Return the space that is trained, and its settings: those of the start, where there is one.

    Raises:
        NetwrightError: neither a space nor a start, or a start of another space.
    """
    if start is None and space is not None:
        return space, settings
    if start is None:
        raise NetwrightError(
            f"Nothing says which networks: give a space (--space {', '.join(SPACES)}), or a network to start from, "
            f"with its trained weights (--from {', '.join(STARTS)})."
        )
    if space not in (None, start.space):
        raise NetwrightError(f"{start.name} is the largest network of space {start.space}; leave --space out.")
    return start.space, {**start.settings, **settings}


def take_start(run: OpenRun, supernet: Supernet) -> None:
    """Load the weights of a run's start into its supernet, fit the classifier, and say what frozen features reach.

    Raises:
        NetwrightError: the weights are nowhere, or are of another network.
    """
    from netwright.core.progress import say
    from netwright.models.pretrained import find_start, fit_weights, weights_of
    from netwright.training.evaluate import evaluate
    from netwright.training.linear_probe import features_of, fit_probe, set_classifier

    told = run.config["start"]
    start = find_start(told["name"])
    given, where = weights_of(start, Path(told["weights"]) if "weights" in told else None)
    taken = fit_weights(start, supernet.net, given, where)
    say(f"starting from {start.name} ({where}): {taken}")
    supernet.net.load_state_dict(taken.tensors, strict=False)  # the classifier comes next
    dataset, resolution = run.training, run.family.space.largest().resolution
    say(f"fitting a classifier to the frozen features of {len(dataset.train)} images at {resolution} px")
    features_ND, labels_N = features_of(supernet.net, dataset.train, dataset, resolution)
    set_classifier(supernet.net, fit_probe(features_ND, labels_N, classes=len(dataset.classes), seed=run.recipe.seed))
    shared = {"mean": dataset.mean, "std": dataset.std, "resolution": resolution}
    value = evaluate(supernet.net, dataset.val, task=run.task, **shared)
    run.run.log(
        {"kind": "baseline", "name": "frozen features", run.metric.key: round(value, 4), "resolution": resolution}
    )
    say(f"frozen features: {run.metric.name} {run.metric.text(value)} at {resolution} px: the first baseline")
