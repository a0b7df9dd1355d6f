"""Whether the settings that a person gives to a function are settings that it takes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from netwright.core.errors import NetwrightError, unknown


def check_arguments(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a function does not have, or whose values are not of the type it states.

    Types that are more than plain values, sequences of them, Literal or a union are not looked into.

    Args:
        what: what messages call the function: "Space 'vit'".

    Raises:
        NetwrightError: names the argument and what is allowed.
    """
    parameters = inspect.signature(function).parameters
    takes = [name for name, one in parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    try:
        kinds = get_type_hints(function)
    except (NameError, TypeError):  # a function without types, or with names that only a type checker sees
        kinds = {}
    for name, value in given.items():
        if name not in takes:
            if len(takes) < len(parameters):
                continue  # it takes any
            raise unknown(f"{what}: setting", name, takes)
        if name in kinds and not fits(value, kinds[name]):
            raise NetwrightError(f"{what}: setting {name} is {value!r}; it takes {told(kinds[name])}.")


def fits(value: Any, kind: Any) -> bool:
    """Say whether a value is of a type. A whole number is also a real one, True and False are no numbers."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if kind is None or kind is type(None):
        return value is None
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if origin is tuple and Ellipsis not in inner:
        return isinstance(value, tuple | list) and len(value) == len(inner) and all(map(fits, value, inner))
    if origin in (tuple, list, Sequence):
        return isinstance(value, tuple | list) and all(fits(one, inner[0]) for one in value)
    if isinstance(kind, type) and kind in (str, bool):
        return isinstance(value, kind)
    return isinstance(value, origin or kind) if isinstance(origin or kind, type) else True


def told(kind: Any) -> str:
    """Write a type in words."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(told(one) for one in inner)
    if get_origin(kind) in (tuple, list, Sequence):
        return f"several of: {' or '.join(dict.fromkeys(told(one) for one in inner if one is not Ellipsis))}"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None"}
    return names.get(kind) or getattr(kind, "__name__", str(typing.cast(Any, kind)))
