"""Which network of a run is meant: by word, from a file, from a search, or as a value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.cost.figures import Cost, Figure
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.workflow.open import OpenRun


def read_arch(made: Family, text: str) -> Arch:
    """Return an arch by word or from a JSON file, checked against the space.

    Raises:
        NetwrightError: no such word or file, or the arch is not of the space.
    """
    from netwright.core.files import read_json
    from netwright.models.arch import Arch

    words = {"smallest": made.space.smallest, "largest": made.space.largest}
    if text in words:
        return words[text]()
    if not Path(text).is_file():
        raise NetwrightError(f"--arch {text!r} is neither {' nor '.join(words)} nor a JSON file that exists.")
    values = read_json(Path(text))
    arch = Arch.from_json(values.get("arch", values) if isinstance(values, dict) else values)
    made.space.encode(arch)
    return arch


def choose(run: OpenRun, asked: Any, found: dict[str, Any] | None = None) -> tuple[Arch, Cost]:
    """Return the network that is meant, with what is known of its cost.

    Args:
        run: the run it is cut from.
        asked: best, front:N, smallest, largest or a JSON file; or an Arch; or what a search lists: a value with an `arch`,
            or an entry of its file.
        found: the search whose places are meant; None: the latest.

    Raises:
        NetwrightError: there is no search result, no such place on the front, no such file, or an arch of another space.
    """
    from netwright.device.machine import THIS
    from netwright.models.arch import Arch

    made = run.family
    if isinstance(asked, Path) or (isinstance(asked, str) and asked != "best" and not asked.startswith("front:")):
        text = str(asked)
        if text not in ("smallest", "largest") and not Path(text).is_file():
            allowed = "best, front:N, smallest, largest, or a JSON file that exists"
            raise NetwrightError(f"--arch {text!r} is none of: {allowed}.")
        return _with_cost(run, read_arch(made, text))
    if isinstance(asked, str):
        found = found or run.latest_search()
        listed = found["candidates"] if asked == "best" else found["front"]
        entry = listed[0 if asked == "best" else _place(asked, len(listed))]
        return _of_entry(run, entry, here=found.get("device", THIS) == THIS)
    if isinstance(asked, dict):
        return _of_entry(run, asked) if "arch" in asked else _with_cost(run, Arch.from_json(asked))
    if isinstance(asked, Arch):
        return _with_cost(run, asked)
    if isinstance(getattr(asked, "arch", None), Arch) and hasattr(asked, "to_json"):
        return _of_entry(run, asked.to_json())
    raise NetwrightError(
        f"A network is given as best, front:N, smallest, largest, a JSON file, an Arch or what a search lists, not as a "
        f"{type(asked).__name__}."
    )


def _of_entry(run: OpenRun, one: dict[str, Any], *, here: bool = True) -> tuple[Arch, Cost]:
    """Read an entry of a search result.

    A latency measured there is predicted anew, as the search saw it; so is one of another device, such as the bound of a
    microcontroller (`here`: the search was for this one).
    """
    from netwright.cost.figures import Cost, Figure
    from netwright.models.arch import Arch

    made, key = run.family, run.metric.key
    arch = Arch.from_json(one.get("arch"))
    made.space.encode(arch)
    score, latency = (Figure.from_json(one[name]) if one.get(name) else None for name in (key, "latency_ms"))
    if latency and (not here or latency.kind in ("measured", "bounded")):
        latency = _predicted_latency(run, arch)
    return arch, Cost(made.macs(arch), made.params(arch), latency, score, run.metric)


def _with_cost(run: OpenRun, arch: Arch) -> tuple[Arch, Cost]:
    from netwright.cost.figures import Cost

    made = run.family
    made.space.encode(arch)
    return arch, Cost(made.macs(arch), made.params(arch), _predicted_latency(run, arch), metric=run.metric)


def _place(text: str, count: int) -> int:
    number = text.removeprefix("front:")
    if not number.isdigit() or int(number) >= count:
        raise NetwrightError(
            f"--arch {text!r}: the front of the latest search has the places front:0 to front:{count - 1}."
        )
    return int(number)


def _predicted_latency(run: OpenRun, arch: Arch) -> Figure | None:
    from netwright.workflow.measure import latency_model, predicted_latency

    model = latency_model(run.family, "this", "onnxruntime", needed=False)
    return predicted_latency(model, run.family, arch) if model else None
