"""Devices: measuring this machine, finding the latency model of a space, and predicting with it."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.progress import say
from netwright.core.tables import OWN, is_own, name_of

if TYPE_CHECKING:
    from netwright.cost.figures import Figure
    from netwright.device.latency import LatencyModel
    from netwright.device.machine import Machine
    from netwright.device.timing import Timing
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace

DEFAULT_SPACE = "mobilenet-v3-small"
LEAST_NETWORKS = 24
NETWORKS = 160
SECONDS = 90.0
MOST_BLOCKS = 1000
SECONDS_EACH = 1.0
MOST_GUESSED = 0.1  # share of a latency


def measure_device(
    space: GivenSpace = DEFAULT_SPACE,
    *,
    runtime: str = "onnxruntime",
    networks: int = NETWORKS,
    seconds: float = SECONDS,
) -> LatencyModel:
    """Measure this machine: its peak rates, and a latency model of a space; both are kept.

    Args:
        space: a name, the run directory of a supernet, FILE.py:NAME, a function or a Family.
        runtime: what runs the networks.
        networks: whole networks to measure.
        seconds: the most time for the timing itself.

    Raises:
        NetwrightError: no such space or runtime.
    """
    from netwright.runtime.runtimes import runtime as runtime_of

    if networks < LEAST_NETWORKS or seconds < 1:
        raise NetwrightError(
            f"networks is {networks}, seconds is {seconds}; at least {LEAST_NETWORKS} networks and 1 second are needed."
        )
    runtime_of(runtime)
    made = read_space(space)
    measure_rates()
    return measure_space(made, runtime=runtime, networks=networks, seconds=seconds)


def measure_rates() -> list[Machine]:
    """Measure the peak rates of this machine with one thread and with all, keep them, and return them.

    A busy machine is measured again; where it stays busy, what is kept says so.
    """
    from netwright.device.peaks import Peaks, measure_calm, save_peaks, thread_counts

    fewer: Peaks | None = None
    for threads in thread_counts():
        say(f"measuring peak rates with {threads} thread(s)")
        fewer = measure_calm(threads, fewer)
        if fewer.busy:
            say(f"warning: the machine is busy: {fewer.busy}. Its peaks may be too low; measure again when it is idle")
        save_peaks(fewer)
    return known_rates()


def known_rates() -> list[Machine]:
    """Return this machine as it was measured, for each number of threads."""
    from netwright.device.peaks import find_peaks, thread_counts

    return [found.machine() for threads in thread_counts() if (found := find_peaks(threads)) is not None]


def read_space(space: GivenSpace, own: GivenSpace | None = None) -> Family:
    """Return a family by the name of its space, or that of a run directory; `own`: the space of that run, given again.

    Raises:
        NetwrightError: neither.
    """
    from netwright.models.families import SPACES
    from netwright.models.own_space import make_family
    from netwright.workflow.open import open_run

    if isinstance(space, str) and space not in SPACES and Path(space).is_dir():
        return open_run(space, space=own).family
    return make_family(space)


def described(name: str) -> Machine | None:
    """Return a machine that is described, by data sheets or in FILE.py:NAME; None for this machine and a model's FILE.json.

    Raises:
        NetwrightError: none of these; names those that are known.
    """
    from netwright.device.machines import MACHINES

    if name in MACHINES or is_own(name):
        return MACHINES.find(name)
    if name != "this" and not name.endswith(".json"):
        raise unknown("Device", name, (*MACHINES, "this", OWN, "a latency model's FILE.json"))
    return None


def measure_space(made: Family, *, runtime: str, networks: int, seconds: float, seed: int = 0) -> LatencyModel:
    """Measure networks of all sizes of a space on this machine, and keep the latency model fitted to them."""
    from netwright.device.measure import measure
    from netwright.device.store import save_model
    from netwright.searching.layout import Layout
    from netwright.specialization.specialize import spread_sample

    genes = spread_sample(made.space, networks, seed)
    priced = [made.priced_blocks(made.space.decode(row)) for row in genes]
    every = [key for key in Layout(made).keys if key is not None]
    cover = every if len(every) <= MOST_BLOCKS else []  # in a larger space, blocks that were not timed are estimated
    say(f"measuring {len(priced)} networks of space {made.space.name} with {runtime}, one thread")
    model = measure(
        priced,
        space=made.space.name,
        runtime=runtime,
        cover=cover,
        seconds=seconds,
        seed=seed,
        progress=_Teller().tell,
    )
    save_model(model)
    return model


def latency_model(made: Family, device: str, runtime: str, *, needed: bool) -> LatencyModel | None:
    """Return the latency model of a space on a device; where it is not needed, None if there is none.

    Raises:
        NetwrightError: it is needed and was not measured yet, or its file is damaged.
    """
    from netwright.device.store import find_model, model_path

    if not needed and not device.endswith(".json") and not model_path(device, made.space.name, runtime).is_file():
        return None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = find_model(device, made.space.name, runtime)
    for warning in told:
        say(f"warning: {warning.message}")
    guessed = model.unmeasured(made.priced_blocks(made.space.largest()))
    if guessed > MOST_GUESSED:
        say(
            f"warning: {guessed:.0%} of the largest network's latency stands on blocks that were not timed on this device, "
            "as happens for another image size or number of classes. Better: netwright device this --measure --space RUN."
        )
    return model


def warn_of_doubt(model: LatencyModel) -> None:
    """Say where a latency model that is about to be used was measured on a busy machine."""
    if model.doubt:
        say(
            f"warning: the latency model of {model.device} stands on doubtful timings: {model.doubt}. Measure again when the "
            f"machine is idle: netwright device this --measure --space {model.space}."
        )


def kept_model(made: Family, runtime: str = "onnxruntime") -> LatencyModel | None:
    """Return the latency model of this machine that is kept for a space, without a word; None if there is none that can be read."""
    from netwright.device.latency import LatencyModel
    from netwright.device.store import model_path

    path = model_path("this", made.space.name, runtime)
    try:
        return LatencyModel.load(path) if path.is_file() else None
    except NetwrightError:
        return None


def predicted_latency(model: LatencyModel, made: Family, arch: Arch) -> Figure:
    """Return the latency of a network with the error the model showed on networks it had not seen."""
    from netwright.cost.figures import Figure

    return Figure(model.predict(made.priced_blocks(arch)), "predicted", model.held_out["mape"] / 100)


def measured_latencies(
    made: Family, archs: Sequence[Arch], runtime: str, model: LatencyModel | None = None
) -> dict[Arch, Figure]:
    """Time networks of the family on this machine, interleaved; their weights do not matter for that.

    `model`: of this machine, by which a busy one is known. Every figure says when and how it was measured.
    """
    from netwright.device.measure import measure_programs
    from netwright.runtime.runtimes import runtime as runtime_of

    shapes = [(3, arch.resolution, arch.resolution) for arch in archs]
    compiled = [runtime_of(runtime).compile(made.build(arch), at) for arch, at in zip(archs, shapes, strict=True)]
    programs = list(zip(compiled, shapes, strict=True))
    timing = measure_programs(programs, runtime, seconds=SECONDS_EACH * len(archs))
    found = measured_figures(timing, f"by the search, with {name_of(runtime)}, in turn with the others found", model)
    return dict(zip(archs, found, strict=True))


def measured_figures(timing: Timing, how: str, model: LatencyModel | None = None) -> list[Figure]:
    """Return the latency of each program timed, with how and when it was measured, and why it is doubtful where it is.

    `model`: the latency model of this machine, if there is one; it knows how fast the reference program can be.
    """
    from netwright.cost.figures import Figure

    doubt = timing.doubt(model.reference_ms if model else None)
    if doubt:
        say(f"warning: {doubt}; the latencies measured just now may be too high")
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    source = f"{how}, {when}{f'; {doubt}' if doubt else ''}"
    return [Figure(float(ms), "measured", source=source) for ms in timing.ms_N]


def describe_model(model: LatencyModel) -> dict[str, Any]:
    """Return what a search result keeps of the model it used."""
    return {
        "device": model.device,
        "runtime": model.runtime,
        "runtime_version": model.runtime_version,
        "threads": model.threads,
        "held_out": dict(model.held_out),
        "noise_floor": dict(model.noise_floor),
        "pairs": model.measured.get("held_out_ms", []),
        "date": model.measured.get("date"),
        "calm": model.measured.get("calm"),
        "busy": model.doubt,
    }


class _Teller:
    """Says how far a measurement is, at most every few seconds."""

    def __init__(self) -> None:
        self.last = ("", -1.0)

    def tell(self, what: str, share: float) -> None:
        if what != self.last[0] or share >= self.last[1] + 0.2:
            self.last = (what, share)
            say(f"{what}: {share:.0%}")
