"""The architectures that verbs take: by word, from a file, from a search of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.core.run import Run
    from netwright.cost.figures import Cost, Figure
    from netwright.models.arch import Arch
    from netwright.models.family import Family


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


def choose(run: Run, text: str, found: dict[str, Any] | None = None) -> tuple[Arch, Cost]:
    """Return the arch that `text` means, with what is known of its cost; `found` stands for the latest search.

    Raises:
        NetwrightError: there is no search result, no such place on the front, or no such file.
    """
    from netwright.cli.workspace import family_of, latest_search
    from netwright.cost.figures import Cost, Figure
    from netwright.models.arch import Arch

    made = family_of(run)
    if text == "best" or text.startswith("front:"):
        found = found or latest_search(run)
        listed = found["candidates"] if text == "best" else found["front"]
        place = 0 if text == "best" else _place(text, len(listed))
        one = listed[place]
        arch = Arch.from_json(one.get("arch"))
        made.space.encode(arch)
        told = {name: Figure.from_json(one[name]) if one.get(name) else None for name in ("accuracy", "latency_ms")}
        latency = told["latency_ms"]
        if latency and latency.kind == "measured":
            latency = _predicted_latency(run, arch)
        return arch, Cost(made.macs(arch), made.params(arch), latency, told["accuracy"])
    if text not in ("smallest", "largest") and not Path(text).is_file():
        allowed = "best, front:N, smallest, largest, or a JSON file that exists"
        raise NetwrightError(f"--arch {text!r} is none of: {allowed}.")
    arch = read_arch(made, text)
    return arch, Cost(made.macs(arch), made.params(arch), _predicted_latency(run, arch))


def _place(text: str, count: int) -> int:
    number = text.removeprefix("front:")
    if not number.isdigit() or int(number) >= count:
        raise NetwrightError(
            f"--arch {text!r}: the front of the latest search has the places front:0 to front:{count - 1}."
        )
    return int(number)


def _predicted_latency(run: Run, arch: Arch) -> Figure | None:
    from netwright.cli.latency import latency_model, predicted_latency
    from netwright.cli.workspace import family_of

    made = family_of(run)
    model = latency_model(made, "this", "onnxruntime", needed=False)
    return predicted_latency(model, made, arch) if model else None
