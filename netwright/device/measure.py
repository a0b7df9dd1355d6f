"""Measuring networks and blocks on this machine, and fitting its latency model to them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.run import environment, processor
from netwright.device.features import block_key, features
from netwright.device.fit import Data, choose, explain, feature_matrix, fit, quality
from netwright.device.latency import LatencyModel, PricedBlocks
from netwright.device.timing import Task, Timing, time_programs
from netwright.nn.block import Block, Shape
from netwright.nn.mbconv import MBConv
from netwright.runtime.runtimes import Program, Runtime
from netwright.runtime.runtimes import runtime as runtime_of

LEAST_NETWORKS = 16
Progress = Callable[[str, float], None]
Unique = tuple[Block, Shape]


@dataclass(frozen=True)
class Measurements:
    """Times of networks, followed by those of their unique blocks alone.

    `counts_NU` says how often a network holds each unique block.
    """

    unique: list[Unique]
    counts_NU: np.ndarray
    timing: Timing


def measure(
    networks: Sequence[PricedBlocks],
    *,
    space: str,
    runtime: str = "onnxruntime",
    threads: int = 1,
    cover: Sequence[Unique] = (),
    held_out: int | None = None,
    seconds: float = 60.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> LatencyModel:
    """Time networks (as `Family.priced_blocks` gives them) and blocks interleaved, and fit the latency model.

    `cover` are further blocks to time alone, so that the model knows them: those of the space that no network here
    holds. `held_out` networks (default: a quarter), drawn by `seed`, are used only to state the error. Timing takes at
    most `seconds`, preparing comes on top; `progress` is called with what is done and its share.

    Raises:
        NetwrightError: too few networks, or no such runtime.
    """
    held_out = max(8, len(networks) // 4) if held_out is None else held_out
    if len(networks) - held_out < LEAST_NETWORKS or held_out < 2:
        raise NetwrightError(
            f"{len(networks)} networks with {held_out} held out are too few: measure at least "
            f"{LEAST_NETWORKS} besides at least 2 that are held out."
        )
    start = time.monotonic()
    figures = _time_all(networks, cover, runtime_of(runtime), threads, seconds, seed, progress)
    order = np.random.default_rng(seed).permutation(len(networks))
    return _model(figures, order[:held_out], order[held_out:], space, runtime, threads, seed, time.monotonic() - start)


def measure_network(
    net: nn.Module, resolution: int, runtime: str = "onnxruntime", *, threads: int = 1, seconds: float = 3.0
) -> float:
    """Return the milliseconds of one network at batch 1 on images of a resolution, by the same protocol."""
    program = runtime_of(runtime).compile(net, (3, resolution, resolution), threads=threads)
    return measure_program(program, (3, resolution, resolution), runtime, threads=threads, seconds=seconds)


def measure_program(
    program: Program, in_shape: Shape, runtime: str = "onnxruntime", *, threads: int = 1, seconds: float = 3.0
) -> float:
    """Return the milliseconds of one program, such as a loaded ONNX file, at batch 1."""
    return float(measure_programs([(program, in_shape)], runtime, threads=threads, seconds=seconds).ms_N[0])


def measure_programs(
    programs: Sequence[tuple[Program, Shape]],
    runtime: str = "onnxruntime",
    *,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
) -> Timing:
    """Time programs (each with its input shape) interleaved, so that they compare fairly."""
    tasks = [_task(program, in_shape) for program, in_shape in programs]
    return time_programs(tasks, _reference(runtime_of(runtime), threads), seconds=seconds, seed=seed)


def _time_all(
    networks: Sequence[PricedBlocks],
    cover: Sequence[Unique],
    runtime: Runtime,
    threads: int,
    seconds: float,
    seed: int,
    progress: Progress | None,
) -> Measurements:
    tell = progress or (lambda what, share: None)
    seen = [placed.key for network in networks for placed in network]
    unique = list(dict.fromkeys([*seen, *cover]))
    index = {pair: number for number, pair in enumerate(unique)}
    parts, tasks = [], []
    for number, (block, shape) in enumerate(unique):
        tell("preparing blocks", number / len(unique))
        parts.append(runtime.prepare(block.build(), shape))
    counts_NU = np.zeros((len(networks), len(unique)))
    for row, network in enumerate(networks):
        tell("preparing networks", row / len(networks))
        inside = [index[placed.key] for placed in network]
        np.add.at(counts_NU[row], inside, 1.0)
        program = runtime.chain([parts[number] for number in inside], threads=threads)
        tasks.append(_task(program, network[0].shapes[0]))
    tasks += [
        _task(runtime.chain([part], threads=threads), shape) for part, (_, shape) in zip(parts, unique, strict=True)
    ]
    timing = time_programs(
        tasks,
        _reference(runtime, threads),
        seconds=seconds,
        seed=seed,
        progress=lambda share: tell("timing", share),
    )
    return Measurements(unique, counts_NU, timing)


def _model(
    figures: Measurements,
    held: np.ndarray,
    train: np.ndarray,
    space: str,
    runtime: str,
    threads: int,
    seed: int,
    seconds: float,
) -> LatencyModel:
    rows = [features(block, shape) for block, shape in figures.unique]
    names = sorted({name for row in rows for name in row})
    features_UF = feature_matrix(rows, names)
    count, timing = len(figures.counts_NU), figures.timing
    ms_N, alone_ms_U, halves_2N = timing.ms_N[:count], timing.ms_N[count:], timing.halves_2N[:, :count]
    data = Data(alone_ms_U, features_UF, figures.counts_NU, ms_N)
    prior, error = choose(data.only(train), seed=seed)
    fitted = fit(data.only(train), prior)
    predicted_N = fitted.predict(figures.counts_NU)
    rates_F = explain(features_UF, fitted.block_ms_U)
    keys = [block_key(block, shape) for block, shape in figures.unique]
    return LatencyModel(
        device=processor(),
        runtime=runtime,
        runtime_version=runtime_of(runtime).version,
        threads=threads,
        space=space,
        offset_ms=fitted.offset_ms,
        blocks_ms={key: float(ms) for key, ms in zip(keys, fitted.block_ms_U, strict=True)},
        rates_ms={name: float(rate) for name, rate in zip(names, rates_F, strict=True) if rate > 0},
        held_out=quality(predicted_N[held], ms_N[held]),
        noise_floor=quality(halves_2N[0, held], halves_2N[1, held]),
        measured={
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "networks": len(ms_N),
            "fitted_on": len(train),
            "blocks": len(keys),
            "seconds": round(seconds, 1),
            "rounds": timing.rounds,
            "calm": round(timing.calm, 3),
            "unsettled": round(timing.unsettled, 3),
            "sum_of_blocks_alone": quality(figures.counts_NU[held] @ alone_ms_U, ms_N[held]),
            "held_out_ms": np.stack([predicted_N, ms_N], 1)[held].round(6).tolist(),  # (predicted, measured), for plots
            "cross_validated_mape": round(100 * error, 3),
            "prior": vars(prior),
            "environment": environment(),
        },
    )


def _reference(runtime: Runtime, threads: int) -> Task:
    """Return the program that tells whether the machine is calm: some 50 microseconds of typical work."""
    shape = (24, 16, 16)
    return _task(runtime.chain([runtime.prepare(MBConv(24, 24, 96, 5).build(), shape)], threads=threads), shape)


def _task(program: Program, in_shape: Shape) -> Task:
    x: Any = np.random.default_rng(0).standard_normal((1, *in_shape)).astype(np.float32)
    return lambda: program.run(x)
