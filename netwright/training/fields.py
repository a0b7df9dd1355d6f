"""Values of a recipe's fields: whether they are of the right type, and how they are read from texts and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from netwright.core.arguments import fits
from netwright.core.errors import NetwrightError, unknown

KINDS_OF_CHANGE = ("surgery", "objective", "plan")
_EXAMPLES = {int: "a whole number, such as 4", float: "a number, such as 0.1"}


def check(name: str, kind: Any, value: Any) -> None:
    """Refuse a value of the wrong type.

    Raises:
        NetwrightError: says what is allowed.
    """
    if name == "changes":
        _check_changes(value)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown(f"Recipe: {name}", str(value), get_args(kind))
    elif get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            raise NetwrightError(f"Recipe: {name} is {value!r}; it must be several numbers, such as (0.5, 0.5).")
        for share in value:
            check(name, float, share)
    elif kind in _EXAMPLES and not fits(value, kind):
        raise NetwrightError(f"Recipe: {name} is {value!r}; it must be {_EXAMPLES[kind]}.")


def parse(name: str, kind: Any, text: str) -> Any:
    """Return the value of a field that is written as a text.

    Raises:
        NetwrightError: it is of another type.
    """
    if name == "changes":
        return _parse_changes(text)
    if get_origin(kind) is tuple:
        return tuple(parse(name, float, part.strip()) for part in text.strip("()[]").split(",") if part.strip())
    if kind not in _EXAMPLES:
        return text  # checked by the recipe itself
    try:
        return kind(text)
    except ValueError as error:
        raise NetwrightError(f"Recipe setting {name}={text}: it must be {_EXAMPLES[kind]}.") from error


def from_json(name: str, kinds: Mapping[str, Any], value: Any) -> Any:
    """Return the value of a field that was read from JSON.

    Raises:
        NetwrightError: no such field, or of another type.
    """
    if name not in kinds:
        raise unknown("Recipe setting", name, kinds)
    kind = kinds[name]
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(value if name == "changes" else (from_json("epochs", kinds, share) for share in value))
    if not fits(value, kind if kind in _EXAMPLES else str):
        raise NetwrightError(f"Recipe setting {name} holds {str(value)[:100]!r}, which is of the wrong type.")
    return float(value) if kind is float else value


def _check_changes(value: Any) -> None:
    example = "such as {'surgery': NAME, 'bits': 4}"
    if not isinstance(value, tuple):
        raise NetwrightError(f"Recipe: changes is {value!r}; it must be a sequence of changes, each {example}.")
    for change in value:
        kinds = [kind for kind in KINDS_OF_CHANGE if isinstance(change, Mapping) and isinstance(change.get(kind), str)]
        if len(kinds) != 1:
            raise NetwrightError(
                f"Recipe: changes holds {str(change)[:100]}; a change has the name of one {' or '.join(KINDS_OF_CHANGE)} "
                f"and its arguments, {example}."
            )
        try:
            json.dumps(change)
        except (TypeError, ValueError) as error:
            raise NetwrightError(
                f"Recipe: changes holds {str(change)[:100]}, which JSON cannot hold ({error}). Pass objects to "
                "train_network(..., changes=[...])."
            ) from error


def _parse_changes(text: str) -> tuple[Any, ...]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise NetwrightError(f'Recipe setting changes={text}: write JSON, [{{"surgery": "NAME"}}].') from error
    return tuple(value) if isinstance(value, list) else (value,)
