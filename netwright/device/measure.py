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
from netwright.core.tables import name_of
from netwright.device.features import block_key, features
from netwright.device.fit import Data, choose, explain, feature_matrix, fit, quality
from netwright.device.latency import LatencyModel, PricedBlocks
from netwright.device.timing import Job, Timing, time_programs
from netwright.nn.block import Shape
from netwright.nn.mbconv import MBConv
from netwright.nn.wiring import Wiring, wire
from netwright.runtime.runtime import Program, Runtime
from netwright.runtime.runtimes import runtime as runtime_of

LEAST_NETWORKS = 16
Progress = Callable[[str, float], None]
Unique = tuple[Any, ...]  # (block, input shape, ...)


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
    runtime: str | Runtime = "onnxruntime",
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
    most `seconds`, preparing comes on top; `progress` is called with what is done and its share. `runtime`: a name of
    `RUNTIMES`, FILE.py:NAME, or a runtime.

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
    chosen = runtime_of(runtime)
    figures = _time_all(networks, cover, chosen, threads, seconds, seed, progress)
    order = np.random.default_rng(seed).permutation(len(networks))
    about = {"runtime": name_of(runtime), "runtime_version": chosen.version, "threads": threads, "space": space}
    return _model(figures, order[:held_out], order[held_out:], about, seed, time.monotonic() - start)


def measure_network(
    net: nn.Module, resolution: int, runtime: str | Runtime = "onnxruntime", *, threads: int = 1, seconds: float = 3.0
) -> float:
    """Return the milliseconds of one network at batch 1 on images of a resolution, by the same protocol."""
    program = runtime_of(runtime).compile(net, (3, resolution, resolution), threads=threads)
    return measure_program(program, (3, resolution, resolution), runtime, threads=threads, seconds=seconds)


def measure_program(
    program: Program, in_shape: Shape, runtime: str | Runtime = "onnxruntime", *, threads: int = 1, seconds: float = 3.0
) -> float:
    """Return the milliseconds of one program, such as a loaded ONNX file, at batch 1."""
    return float(measure_programs([(program, in_shape)], runtime, threads=threads, seconds=seconds).ms_N[0])


def measure_programs(
    programs: Sequence[tuple[Program, Shape]],
    runtime: str | Runtime = "onnxruntime",
    *,
    threads: int = 1,
    seconds: float = 60.0,
    seed: int = 0,
) -> Timing:
    """Time programs (each with its input shape) interleaved, so that they compare fairly."""
    jobs = [_job(program, in_shape) for program, in_shape in programs]
    return time_programs(jobs, _reference(runtime_of(runtime), threads), seconds=seconds, seed=seed)


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
    parts, jobs = [], []
    for number, (block, *shapes) in enumerate(unique):
        tell("preparing blocks", number / len(unique))
        parts.append(runtime.part(block.build(), *shapes))
    counts_NU = np.zeros((len(networks), len(unique)))
    for row, network in enumerate(networks):
        tell("preparing networks", row / len(networks))
        inside = [index[placed.key] for placed in network]
        np.add.at(counts_NU[row], inside, 1.0)
        program = runtime.join([parts[number] for number in inside], threads=threads, wiring=_wiring(network))
        jobs.append(_job(program, network[0].shapes[0]))
    jobs += [
        _job(runtime.join([part], threads=threads), *shapes) for part, (_, *shapes) in zip(parts, unique, strict=True)
    ]
    timing = time_programs(
        jobs,
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
    about: dict[str, Any],
    seed: int,
    seconds: float,
) -> LatencyModel:
    rows = [features(*key) for key in figures.unique]
    names = sorted({name for row in rows for name in row})
    features_UF = feature_matrix(rows, names)
    count, timing = len(figures.counts_NU), figures.timing
    ms_N, alone_ms_U, halves_2N = timing.ms_N[:count], timing.ms_N[count:], timing.halves_2N[:, :count]
    data = Data(alone_ms_U, features_UF, figures.counts_NU, ms_N)
    prior, error = choose(data.only(train), seed=seed)
    fitted = fit(data.only(train), prior)
    predicted_N = fitted.predict(figures.counts_NU)
    rates_F = explain(features_UF, fitted.block_ms_U)
    keys = [block_key(*key) for key in figures.unique]
    return LatencyModel(
        device=processor(),
        **about,
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
            "reference_ms": timing.reference_ms,
            "sum_of_blocks_alone": quality(figures.counts_NU[held] @ alone_ms_U, ms_N[held]),
            "held_out_ms": np.stack([predicted_N, ms_N], 1)[held].round(6).tolist(),  # (predicted, measured), for plots
            "cross_validated_mape": round(100 * error, 3),
            "prior": vars(prior),
            "environment": environment(),
        },
    )


def _reference(runtime: Runtime, threads: int) -> Job:
    """Return the program that tells whether the machine is calm: some 50 microseconds of typical work."""
    shape = (24, 16, 16)
    return _job(runtime.join([runtime.part(MBConv(24, 24, 96, 5).build(), shape)], threads=threads), shape)


def _wiring(network: PricedBlocks) -> Wiring | None:
    """Return what the blocks of a network read, None for a chain."""
    if not any(placed.reads for placed in network):
        return None
    wiring = wire({placed.name: placed.wired for placed in network})
    return None if wiring.is_chain else wiring


def _job(program: Program, *in_shapes: Shape) -> Job:
    rng = np.random.default_rng(0)
    inputs: list[Any] = [rng.standard_normal((1, *shape)).astype(np.float32) for shape in in_shapes]
    return lambda: program.run(*inputs)
