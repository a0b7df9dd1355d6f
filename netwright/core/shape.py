"""What a search result and an artifact's record look like in files, and whether a value from a file is one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json
from netwright.core.metric import TOP_1, Metric

NUMBER, TEXT, OBJECT = "a number", "a text", "an object"
FIGURE = {"value": NUMBER, "kind": TEXT, "error?": NUMBER, "source?": TEXT}
ENTRY = {"arch": OBJECT, "latency_ms?": FIGURE, "macs": NUMBER, "params": NUMBER}  # and the figure of the task's metric
PAIRS = [(NUMBER, NUMBER)]
HELD_OUT = {"networks?": NUMBER, "mape?": NUMBER, "within_10pct?": NUMBER, "kendall_tau?": NUMBER}
LATENCY_MODEL = {"device": TEXT, "runtime": TEXT, "held_out": HELD_OUT, "noise_floor?": HELD_OUT, "pairs?": PAIRS}
PREDICTOR = {"networks": NUMBER, "kendall_tau": NUMBER, "spearman": NUMBER, "rmse": NUMBER, "pairs?": PAIRS}
SEARCH = {
    "device": TEXT,
    "strategy": TEXT,
    "seed": NUMBER,
    "budget": {"*": NUMBER},
    "candidates": [ENTRY],
    "front": [ENTRY],
    "points": [("maybe", NUMBER, NUMBER)],
    "predictor": PREDICTOR,
    "latency_model?": LATENCY_MODEL,
}
VERIFICATION = {"agreement": NUMBER, "max_abs_difference": NUMBER}
DEPLOYED = {"folder": TEXT, "predicted": {"latency_ms?": FIGURE}, "latency_ms": FIGURE, "exceeds?": {"*": NUMBER}}
TRAIN = {"epoch": NUMBER, "loss": NUMBER}


def search_shape(metric: Metric = TOP_1) -> dict[str, Any]:
    """Return what a search result holds, for a task of this metric."""
    entry = {**ENTRY, f"{metric.key}?": FIGURE}
    return {**SEARCH, "candidates": [entry], "front": [entry]}


def deployed_shape(metric: Metric = TOP_1) -> dict[str, Any]:
    """Return what the record of an artifact holds, for a task of this metric."""
    values = {f"{metric.key}_source": NUMBER, f"{metric.key}_deployed": NUMBER}
    return {**DEPLOYED, "verification": {**VERIFICATION, **values}}


def eval_shape(metric: Metric = TOP_1) -> dict[str, Any]:
    """Return what a record of an evaluation during training holds, for a task of this metric."""
    return {"epoch": NUMBER, metric.key: NUMBER, "arch": TEXT}


def read_search(path: Path, metric: Metric = TOP_1) -> dict[str, Any]:
    """Read the result of a search, for a task of this metric.

    Raises:
        NetwrightError: missing, damaged, or not such a result; says which part.
    """
    found = read_json(path)
    wrong = mismatch(found, search_shape(metric), "it") or (
        "it lists no candidates" if not found["candidates"] else None
    )
    if wrong:
        raise NetwrightError(f"{path} is not a search result: {wrong}. Search again.")
    return found


def mismatch(value: Any, shape: Any, where: str) -> str | None:
    """Return what is wrong with a value, None if it has the shape.

    A shape is a word for a kind of value, a dict (a key ending in `?` may be missing or null; `*` stands for every key
    there is), a list of one shape, or a tuple of a shape for each place.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is not an object"
        if "*" in shape:
            shape = {key: shape["*"] for key, part in value.items() if part is not None}
        wrong = (
            mismatch(value.get(key.rstrip("?")), part, f"{where}.{key.rstrip('?')}")
            for key, part in shape.items()
            if not (key.endswith("?") and value.get(key[:-1]) is None)
        )
        return next(filter(None, wrong), None)
    if isinstance(shape, list | tuple):
        if not isinstance(value, list) or (isinstance(shape, tuple) and len(value) != len(shape)):
            return f"{where} is not a list{f' of {len(shape)}' if isinstance(shape, tuple) else ''}"
        parts = shape if isinstance(shape, tuple) else shape * len(value)
        wrong = (mismatch(one, part, f"{where}[{i}]") for i, (one, part) in enumerate(zip(value, parts, strict=True)))
        return next(filter(None, wrong), None)
    if shape == "maybe" and value is None:
        return None
    fits = {NUMBER: _is_number, "maybe": _is_number, TEXT: _is_text, OBJECT: _is_object}[shape]
    return None if fits(value) else f"{where} is not {NUMBER if shape == 'maybe' else shape}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
