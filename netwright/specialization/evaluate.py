"""How well sub-networks do their task, each with its own BatchNorm statistics: in parallel, recorded, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.json_lines import append_line, read_lines
from netwright.core.metric import TOP_1
from netwright.core.progress import say, track
from netwright.core.state import load_state, save_state
from netwright.core.tables import own_files, run_files
from netwright.data import Dataset, ImageSet
from netwright.models.arch import Arch
from netwright.models.families import SPACES, family
from netwright.models.family import Family
from netwright.supernet.supernet import Supernet
from netwright.tasks.task import Task
from netwright.tasks.tasks import TASKS
from netwright.training.evaluate import evaluate_subnet

_LEAST_PER_WORKER = 8  # a worker takes seconds to start
_AHEAD = 4  # archs queued a worker


@dataclass(frozen=True)
class Job:
    """What one evaluation depends on besides the arch: weights, images, calibration images, and the task."""

    supernet: Supernet
    dataset: Dataset
    images: ImageSet
    batch_size: int
    task: Task

    def value(self, arch: Arch) -> float:
        """Return the task's metric."""
        return evaluate_subnet(
            self.supernet,
            arch,
            self.dataset,
            task=self.task,
            images=self.images,
            calibration_images=len(self.dataset.train),
            batch_size=self.batch_size,
        )

    def fingerprint(self) -> str:
        """Return a digest of weights and images: records made with others do not count."""
        digest = hashlib.sha256()
        tensors = [*self.supernet.state_dict().values(), self.images.images_NCHW, self.images.wanted]
        for tensor in [*tensors, self.dataset.train.images_NCHW]:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


class Evaluator:
    """The metric of the sub-networks of one supernet, evaluated only where a file does not hold it yet.

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
        task: str | Task = "classification",
        callback: Callable[[dict[str, Any]], bool] | None = None,
    ):
        """Prepare; nothing is evaluated yet.

        Args:
            supernet: its weights; not changed.
            dataset: normalisation, and training images to calibrate BatchNorm on.
            path: JSON lines of arch and metric, by the metric's key; records of other weights or images in it are left alone.
            images: what to evaluate on. Hold out a part of the training images for searching, so that the
                validation images stay unseen; None: the validation images.
            calibration_images: how many training images BatchNorm is calibrated on.
            batch_size: of the evaluation.
            workers: processes; None: as many as there are cores, fewer for little work; 1: this process.
            task: a name in TASKS, FILE.py:NAME, or a Task; it brings its targets to the images.
            callback: called with each record that is written; where it returns True, nothing more is evaluated, and what was
                not is NaN.
        """
        task = TASKS.find(task)
        dataset = task.prepare(dataset if images is None else dataclasses.replace(dataset, val=images))
        calibration = dataset.train.take(min(calibration_images, len(dataset.train)))
        nothing = dataset.val.select(torch.arange(0))
        source = Dataset(dataset.name, calibration, nothing, dataset.classes, dataset.mean, dataset.std)
        self.supernet = supernet
        self.metric = task.metric
        self._job = Job(supernet, source, dataset.val, batch_size, task)
        self._path = path
        self._workers = workers
        self._callback = callback
        self._made_with = self._job.fingerprint()

    def __call__(self, archs: Sequence[Arch]) -> NDArray[np.float64]:
        """Return the metric of each arch, in its unit; an arch that repeats is evaluated once.

        Raises:
            NetwrightError: a sub-network fails, a worker dies, or the file cannot be written. What was evaluated is kept.
        """
        key = self.metric.key
        known = recorded(self._path, self._made_with, key)
        todo = [arch for arch in dict.fromkeys(archs) if arch not in known]
        for arch, value in track(_evaluate(self._job, todo, self._workers), "evaluating sub-networks", len(todo)):
            record = {"arch": arch.to_json(), key: value, "made_with": self._made_with}
            append_line(self._path, record)
            known[arch] = value
            if self._callback is not None and self._callback(record):
                break
        return np.array([known.get(arch, np.nan) for arch in archs], np.float64)


def evaluate_archs(
    supernet: Supernet, dataset: Dataset, archs: Sequence[Arch], path: Path, **settings: Any
) -> NDArray[np.float64]:
    """Return the metric of each arch, in its unit; `settings` are those of `Evaluator`."""
    return Evaluator(supernet, dataset, path, **settings)(archs)


def recorded(path: Path, made_with: str | None = None, key: str = TOP_1.key) -> dict[Arch, float]:
    """Return the values that a file holds of a metric, by arch; of one fingerprint where given. Damaged lines do not count."""
    found = {}
    for record in read_lines(path):
        if {"arch", key, "made_with"} <= record.keys() and made_with in (None, record["made_with"]):
            found[Arch.from_json(record["arch"])] = float(record[key])
    return found


def _evaluate(job: Job, archs: Sequence[Arch], workers: int | None) -> Iterator[tuple[Arch, float]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or min(cores, len(archs) // _LEAST_PER_WORKER)
    on_cpu = next(job.supernet.parameters()).device.type == "cpu"
    if count <= 1 or not archs or not on_cpu:
        for arch in archs:
            yield arch, job.value(arch)
        return
    made = _sendable(job)
    if made is None:
        say(
            "This family or task cannot be sent to worker processes (its functions are not importable): evaluating in one "
            "process."
        )
        yield from _evaluate(job, archs, 1)
        return
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        shared = Path(folder) / "job.safetensors"
        _save_job(job, shared)
        yield from _in_parallel(archs, count, (own_files(), made, str(shared)))


def _in_parallel(
    archs: Sequence[Arch], workers: int, arguments: tuple[list[str], bytes, str]
) -> Iterator[tuple[Arch, float]]:
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


def _sendable(job: Job) -> bytes | None:
    """Return the family (or the name and settings that it can be made from) and the task, pickled, or None."""
    made = job.supernet.family
    sent = _pickled((made, job.task))
    if sent is None and made.space.name in SPACES and family(made.space.name, **made.settings).space == made.space:
        sent = _pickled(((made.space.name, dict(made.settings)), job.task))
    return sent


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _save_job(job: Job, path: Path) -> None:
    """Write what workers need to a file, which they map into memory instead of holding copies."""
    data = job.dataset
    save_state(
        path,
        {
            "weights": job.supernet.state_dict(),
            "images": [job.images.images_NCHW, job.images.labels_N, job.images.targets],
            "calibration": [data.train.images_NCHW, data.train.labels_N],
            "statistics": [list(data.mean), list(data.std)],
            "classes": list(data.classes),
            "batch_size": job.batch_size,
        },
    )


_job: Job | None = None  # of a worker process


def _start_worker(files: list[str], pickled: bytes, path: str) -> None:
    global _job
    torch.set_num_threads(1)
    run_files(files)
    source, task = pickle.loads(pickled)  # noqa: S301 - made by the process that started this one
    made = source if isinstance(source, Family) else family(source[0], **source[1])
    state = load_state(Path(path))
    supernet = Supernet(made)
    supernet.load_state_dict(state["weights"])
    mean, std = (tuple(values) for values in state["statistics"])
    images = ImageSet(*state["images"])
    data = Dataset("", ImageSet(*state["calibration"]), images, tuple(state["classes"]), mean, std)
    _job = Job(supernet.eval(), data, images, state["batch_size"], task)


def _work(arch: Arch) -> float:
    assert _job is not None
    return _job.value(arch)
