"""The accuracy of sub-networks, each with BatchNorm statistics of its own: in parallel, recorded, resumable."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.files import append_line, read_lines
from netwright.core.progress import say, track
from netwright.core.state import load_state, save_state
from netwright.data import Dataset, ImageSet, calibration_batches
from netwright.models.arch import Arch
from netwright.models.families import SPACES, family
from netwright.models.family import Family
from netwright.supernet.calibrate import has_batch_norm
from netwright.supernet.supernet import Supernet
from netwright.training.evaluate import accuracy

_LEAST_PER_WORKER = 8  # a worker takes seconds to start
_AHEAD = 4  # archs queued a worker


@dataclass(frozen=True)
class Task:
    """What one accuracy depends on besides the arch: weights, images, and calibration images."""

    supernet: Supernet
    dataset: Dataset
    images: ImageSet
    batch_size: int

    def accuracy(self, arch: Arch) -> float:
        """Return top-1 accuracy in percent."""
        device = next(self.supernet.parameters()).device
        batches = None
        if has_batch_norm(self.supernet.net):
            batches = calibration_batches(
                self.dataset, resolution=arch.resolution, images=len(self.dataset.train), device=device
            )
        net = self.supernet.extract(arch, batches)
        return accuracy(
            net,
            self.images,
            mean=self.dataset.mean,
            std=self.dataset.std,
            resolution=arch.resolution,
            batch_size=self.batch_size,
            device=device,
        )

    def fingerprint(self) -> str:
        """Return a digest of weights and images: records made with others do not count."""
        digest = hashlib.sha256()
        tensors = [*self.supernet.state_dict().values(), self.images.images_NCHW, self.images.labels_N]
        for tensor in [*tensors, self.dataset.train.images_NCHW]:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


class Evaluator:
    """Accuracies of the sub-networks of one supernet, evaluated only where a file does not hold them yet.

    Every result is appended to the file at once, so that a killed evaluation continues where it was. Worker processes
    of one thread each share the work where the supernet is on the CPU and there is enough of it.
    """

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        path: Path,
        *,
        images: ImageSet | None = None,
        calibration_images: int = 1024,
        batch_size: int = 256,
        workers: int | None = None,
    ):
        """Prepare; nothing is evaluated yet.

        Args:
            supernet: its weights; not changed.
            dataset: normalisation, and training images to calibrate BatchNorm on.
            path: JSON lines of arch and accuracy; records of other weights or images in it are left alone.
            images: what to evaluate on. Hold out a part of the training images for searching, so that the
                validation images stay unseen; None: the validation images.
            calibration_images: how many training images BatchNorm is calibrated on.
            batch_size: of the evaluation.
            workers: processes; None: as many as there are cores, fewer for little work; 1: this process.
        """
        calibration = dataset.train.take(min(calibration_images, len(dataset.train)))
        nothing = dataset.val.select(torch.arange(0))
        source = Dataset(dataset.name, calibration, nothing, dataset.classes, dataset.mean, dataset.std)
        self.supernet = supernet
        self._task = Task(supernet, source, images or dataset.val, batch_size)
        self._path = path
        self._workers = workers
        self._made_with = self._task.fingerprint()

    def __call__(self, archs: Sequence[Arch]) -> NDArray[np.float64]:
        """Return the accuracy of each arch in percent; an arch that repeats is evaluated once.

        Raises:
            NetwrightError: a sub-network fails, a worker dies, or the file cannot be written. What was evaluated is kept.
        """
        known = recorded(self._path, self._made_with)
        todo = [arch for arch in dict.fromkeys(archs) if arch not in known]
        for arch, value in track(_evaluate(self._task, todo, self._workers), "evaluating sub-networks", len(todo)):
            append_line(self._path, {"arch": arch.to_json(), "accuracy": value, "made_with": self._made_with})
            known[arch] = value
        return np.array([known[arch] for arch in archs], np.float64)


def evaluate_archs(
    supernet: Supernet, dataset: Dataset, archs: Sequence[Arch], path: Path, **settings: Any
) -> NDArray[np.float64]:
    """Return the accuracy of each arch in percent; `settings` are those of `Evaluator`."""
    return Evaluator(supernet, dataset, path, **settings)(archs)


def recorded(path: Path, made_with: str | None = None) -> dict[Arch, float]:
    """Return the accuracies a file holds, by arch; of one fingerprint where given. Damaged lines do not count."""
    found = {}
    for record in read_lines(path):
        if {"arch", "accuracy", "made_with"} <= record.keys() and made_with in (None, record["made_with"]):
            found[Arch.from_json(record["arch"])] = float(record["accuracy"])
    return found


def _evaluate(task: Task, archs: Sequence[Arch], workers: int | None) -> Iterator[tuple[Arch, float]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or min(cores, len(archs) // _LEAST_PER_WORKER)
    on_cpu = next(task.supernet.parameters()).device.type == "cpu"
    if count <= 1 or not archs or not on_cpu:
        for arch in archs:
            yield arch, task.accuracy(arch)
        return
    source = _sendable(task.supernet.family)
    if source is None:
        say(
            "This family cannot be sent to worker processes (its functions are not importable): evaluating in one process."
        )
        yield from _evaluate(task, archs, 1)
        return
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        shared = Path(folder) / "task.safetensors"
        _save_task(task, shared)
        yield from _in_parallel(archs, count, (source, str(shared)))


def _in_parallel(archs: Sequence[Arch], workers: int, arguments: tuple[Any, str]) -> Iterator[tuple[Arch, float]]:
    """Yield results as they come, in any order; a few archs are queued ahead of each worker."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=arguments)
    waiting = iter(archs)
    running: dict[Future[float], Arch] = {}
    try:
        while True:
            for arch in waiting:
                running[pool.submit(_work, arch)] = arch
                if len(running) >= _AHEAD * workers:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise NetwrightError(
            "A worker process of the evaluation died: for want of memory, or because the script that called it runs its "
            "work on import (guard it with `if __name__ == '__main__':`). What was evaluated is recorded; repeat to continue."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _sendable(made: Family) -> Family | tuple[str, dict[str, Any]] | None:
    """Return the family, or the name and settings a worker can make it from, or None."""
    try:
        pickle.dumps(made)
        return made
    except (pickle.PicklingError, AttributeError, TypeError):
        named = made.space.name in SPACES and family(made.space.name, **made.settings).space == made.space
        return (made.space.name, dict(made.settings)) if named else None


def _save_task(task: Task, path: Path) -> None:
    """Write what workers need to a file, which they map into memory instead of holding copies."""
    data = task.dataset
    save_state(
        path,
        {
            "weights": task.supernet.state_dict(),
            "images": [task.images.images_NCHW, task.images.labels_N],
            "calibration": [data.train.images_NCHW, data.train.labels_N],
            "statistics": [list(data.mean), list(data.std)],
            "classes": list(data.classes),
            "batch_size": task.batch_size,
        },
    )


_task: Task | None = None  # of a worker process


def _start_worker(source: Family | tuple[str, dict[str, Any]], path: str) -> None:
    global _task
    torch.set_num_threads(1)
    made = source if isinstance(source, Family) else family(source[0], **source[1])
    state = load_state(Path(path))
    supernet = Supernet(made)
    supernet.load_state_dict(state["weights"])
    mean, std = (tuple(values) for values in state["statistics"])
    images = ImageSet(*state["images"])
    data = Dataset("", ImageSet(*state["calibration"]), images, tuple(state["classes"]), mean, std)
    _task = Task(supernet.eval(), data, images, state["batch_size"])


def _work(arch: Arch) -> float:
    assert _task is not None
    return _task.accuracy(arch)
