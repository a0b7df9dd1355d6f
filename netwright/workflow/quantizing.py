"""How a module becomes integers for a microcontroller, and how often the integers are right on images held out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from netwright.data.images import Dataset
    from netwright.graph.integers.quantized import QuantizedGraph
    from netwright.models.arch import Arch
    from netwright.models.own_space import GivenSpace
    from netwright.workflow.open import OpenRun

OBSERVERS = ("minmax", "percentile", "mse")
IMAGES = 256  # more change the found ranges little
BATCH = 32
JUDGED = 1000  # images held out that are run, at most


@dataclass(frozen=True)
class Quantizing:
    """What was asked.

    Attributes:
        images: that calibrate the activations; None: 256.
        observer: how their ranges are chosen; None: minmax, and mse where it is trained further.
        epochs: of training with fake quantization on the run's training data; 0: none.
        layers: compare with the network in float layer by layer.
    """

    images: int | None = None
    observer: str | None = None
    epochs: float = 0.0
    layers: bool = False

    def __post_init__(self) -> None:
        """Refuse values that are none.

        Raises:
            NetwrightError: no such observer, no images, or a negative training.
        """
        if self.observer is not None and self.observer not in OBSERVERS:
            raise unknown("Observer", self.observer, OBSERVERS)
        if self.images is not None and self.images < 1:
            raise NetwrightError(f"--calibration {self.images}: at least one image is needed to find ranges.")
        if not 0 <= self.epochs < float("inf"):
            raise NetwrightError(f"--qat {self.epochs}: epochs of training are 0 or more.")

    @property
    def asked(self) -> list[str]:
        """The options that were given."""
        given = {"--calibration": self.images, "--observer": self.observer, "--qat": self.epochs or None}
        return [word for word, value in given.items() if value is not None]

    def quantize(self, module: nn.Module, batches: Sequence[Tensor]) -> QuantizedGraph:
        """Return a module in integers, without training, calibrated on the first images.

        Raises:
            NetwrightError: as the library's `quantize`; training was asked for.
        """
        from netwright.compression.quantization.compare import first_images
        from netwright.compression.quantization.post_training import quantize

        if self.epochs:
            raise NetwrightError(
                "--qat trains on the images of a run: give RUN:ARCH. A module by name has no training data."
            )
        few = first_images([(batch,) for batch in batches], self.images or IMAGES)
        observer: Any = self.observer or "minmax"
        return quantize(module, few, observer=observer, layers=self.layers)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images on which integers are judged: int8 as the network takes them, labels, and how often it is right in float."""

    stored: NDArray[np.int8]
    labels: NDArray[np.int64]
    in_float: float

    def judge(self, model: QuantizedGraph, folder: Path) -> dict[str, Any]:
        """Return the share of images on which interpreter and C, built for this machine, name the right class first."""
        from netwright.graph.integers.interpret import interpret
        from netwright.mcu.run.host import build_host
        from netwright.mcu.run.toolchain import missing

        found: dict[str, Any] = {
            "images": len(self.labels),
            "float": self.in_float,
            "interpreter": self._right(interpret(model, [self.stored])[0]),
            "c": None,
        }
        if not missing("gcc"):
            with tempfile.TemporaryDirectory(prefix="netwright-") as built:
                found["c"] = self._right(build_host(folder, folder=Path(built)).run(self.stored))
        return found

    def _right(self, scores: NDArray[np.int8]) -> float:
        return float((scores.reshape(len(self.labels), -1).argmax(axis=1) == self.labels).mean())


def of_run(model: str, how: Quantizing, space: GivenSpace | None = None) -> tuple[QuantizedGraph, HeldOut | None]:
    """Return a network of a run in integers, and the run's validation images where it tells classes.

    Raises:
        NetwrightError: no such network, it is not trained, or as `quantize` and `quantize_aware`.
    """
    from netwright.data.loader import calibration_batches
    from netwright.workflow.archs import choose
    from netwright.workflow.deploy import extract
    from netwright.workflow.open import open_run

    head, _, tail = model.partition(":")
    run = open_run(Path(head), space=space)
    run.require_trained()
    arch, _ = choose(run, tail or "best")
    classes = run.task.name == "classification"
    if how.epochs and not classes:
        raise NetwrightError(f"--qat trains networks that tell classes; {head} is for {run.task.name}. Leave it out.")
    module = extract(run, arch)
    if how.epochs:
        made = _trained(module, run.training, arch, how)
    else:
        images = how.images or IMAGES
        batches = calibration_batches(run.training, resolution=arch.resolution, images=images, batch_size=BATCH)
        with quiet():
            made = how.quantize(module, batches)
    told = {"preparation": run.preparation(arch.resolution).to_json(), "classes": list(run.dataset.classes)}
    made = dataclasses.replace(made, images=told)
    return made, _held_out(run, arch, module, made) if classes else None


def _trained(module: nn.Module, training: Dataset, arch: Arch, how: Quantizing) -> QuantizedGraph:
    from netwright.compression.quantization.qat import quantization_aware, quantize_aware

    chosen = {} if how.images is None else {"calibration_images": how.images}
    observer: Any = how.observer or "mse"
    recipe = quantization_aware(epochs=how.epochs, **chosen)
    return quantize_aware(module, training, recipe, resolution=arch.resolution, observer=observer)


def _held_out(run: OpenRun, arch: Arch, module: nn.Module, made: QuantizedGraph) -> HeldOut:
    """Prepare validation images, and ask the network in float for them."""
    import numpy as np
    import torch

    from netwright.compression.quantization.post_training import to_integers
    from netwright.data.loader import eval_batches

    known = run.training
    some = run.validation.take(JUDGED, 0)
    stored, labels, right = [], [], 0
    batches = eval_batches(some, mean=known.mean, std=known.std, resolution=arch.resolution, batch_size=BATCH)
    with torch.no_grad():
        for x_BCHW, labels_B in batches:
            stored.append(to_integers(made, x_BCHW))
            labels.append(labels_B.numpy())
            right += int((module(x_BCHW).argmax(1) == labels_B).sum())
    joined = np.concatenate(labels)
    return HeldOut(np.concatenate(stored), joined, right / len(joined))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch from logging tracebacks and printing graphs where it fails: the error is raised and told anyway."""
    before, written = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(written):
            yield
    finally:
        logging.disable(before)
    sys.stderr.write(written.getvalue())  # nothing failed: what the module says is its own
