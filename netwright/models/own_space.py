"""A family as files record it: the name of its space and its settings; one of the user's own also as what it was.

Nothing that a file names is ever executed: a family of the user's own is made again only from what the user gives again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from netwright.core.errors import NetwrightError, unknown
from netwright.core.tables import OWN, give_again, is_own, load_own, name_of
from netwright.models.families import SPACES, family
from netwright.models.family import Family

GivenSpace = str | Family | Callable[..., Family]


def make_family(
    space: GivenSpace, *, classes: int = 10, size: int | None = None, given: Mapping[str, Any] | None = None
) -> Family:
    """Return the family that a name, FILE.py:NAME, a function or a family stands for.

    Args:
        classes, size: passed to a function that takes them.
        given: further settings of the function.

    Raises:
        NetwrightError: no such space, a setting that it does not take, or something that is no family.
    """
    source = _source(space)
    if isinstance(source, Family):
        if given:
            raise NetwrightError(
                f"Space {name_of(space)!r} is a family already: it takes no settings ({', '.join(given)})."
            )
        return source
    return _call(space, source, settings_for(space, classes=classes, size=size, given=given or {}))


def open_size(space: GivenSpace, given: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Say whether the size of the images is open (the space's function takes one, and `given` does not set it).

    Returns:
        That, and the size that the function takes when it is called without; None: none.

    Raises:
        NetwrightError: no such space.
    """
    source = _source(space)
    taken = None if isinstance(source, Family) else inspect.signature(source).parameters.get("size")
    if taken is None or "size" in given:
        return False, None
    return True, taken.default if isinstance(taken.default, int) else None


def settings_for(space: GivenSpace, *, classes: int, size: int | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a space's function for a dataset: its classes, and the image size where it takes one.

    Raises:
        NetwrightError: no such space, or a setting that it does not take.
    """
    source = _source(space)
    if isinstance(source, Family):
        return {}
    takes = inspect.signature(source).parameters
    any_name = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    wrong = next((name for name in given if name not in takes and not any_name), None)
    if wrong is not None:
        raise unknown(f"--set space.{wrong}: setting", wrong, takes)
    for name, kind in get_type_hints(source).items():
        if name in given and get_origin(kind) is Literal and given[name] not in get_args(kind):
            raise unknown(f"--set space.{name}: value", str(given[name]), get_args(kind))
    settings: dict[str, Any] = {"classes": classes} if "classes" in takes or any_name else {}
    settings |= given
    if size is not None and "size" in takes:
        settings["size"] = size
    return settings


def record_family(made: Family, space: GivenSpace, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what files record: `space` and `settings`; of a family of the user's own also `own`, to know it again.

    `settings`: what the function was called with.

    Raises:
        NetwrightError: a setting that JSON cannot hold.
    """
    if isinstance(space, str) and space in SPACES:
        return {"space": space, "settings": dict(made.settings)}
    record = {"space": made.space.name, "settings": dict(made.settings)}
    own = {"space": name_of(space), "called_with": dict(settings), "digest": digest(made)}
    return _plain({**record, "own": own}, made.space.name)


def record_of(record: Mapping[str, Any], made: Family) -> dict[str, Any]:
    """Return the part of a larger record, such as a run's config, that is the family's."""
    own = {"own": dict(record["own"])} if record.get("own") else {}
    return {"space": record["space"], "settings": dict(made.settings), **own}


def read_family(record: Mapping[str, Any], where: str, space: GivenSpace | None = None) -> Family:
    """Return the family of a record.

    Args:
        record: what `record_family` returned.
        where: the file or run that holds it, for messages.
        space: what the user gives again; needed for a family of the user's own.

    Raises:
        NetwrightError: a family of the user's own that was not given again, or another one than was recorded; no such
            space, or it takes other settings.
    """
    own = record.get("own")
    if space is None:
        check_given(record, where)
        return _recorded(record, where)
    source = _source(space)
    settings = own.get("called_with", {}) if isinstance(own, dict) else record["settings"]
    made = source if isinstance(source, Family) else _call(space, source, settings)
    same = (
        digest(made) == own.get("digest") if isinstance(own, dict) else digest(made) == digest(_recorded(record, where))
    )
    if not same:
        raise NetwrightError(
            f"{where} was made with space {record['space']!r}{_from(own)}; {name_of(space)!r} gives {made.space.name!r} "
            "with other choices or settings. Give the space it was made with."
        )
    return made


def check_given(record: Mapping[str, Any], where: str) -> None:
    """Refuse a record of a family of the user's own, where it was not given again.

    Raises:
        NetwrightError: names the option to repeat.
    """
    own = record.get("own")
    if own is not None:
        raise give_again(where, "space", own.get("space") if isinstance(own, dict) else own)


def digest(made: Family) -> str:
    """Return a short digest of a family's space and settings."""
    told = json.dumps(
        {"space": dataclasses.asdict(made.space), "settings": dict(made.settings)}, sort_keys=True, default=str
    )
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _source(space: GivenSpace) -> Family | Callable[..., Family]:
    if isinstance(space, str):
        if space in SPACES:
            return SPACES[space]
        if not is_own(space):
            raise unknown("Space", space, (*SPACES, OWN))
    found: Any = load_own(space) if isinstance(space, str) else space
    if isinstance(found, Family):
        return found
    if callable(found):
        return cast(Callable[..., Family], found)
    raise NetwrightError(
        f"Space {space!r} is a {type(found).__name__}; a Family, or a function that returns one, is needed. "
        f"Allowed: {', '.join(SPACES)}, or {OWN}."
    )


def _call(space: GivenSpace, function: Callable[..., Family], settings: Mapping[str, Any]) -> Family:
    try:
        return family(space if isinstance(space, str) else function, **settings)
    except NetwrightError:
        raise
    except Exception as error:
        raise NetwrightError(f"Space {name_of(space)!r} failed with {type(error).__name__}: {error}") from error


def _recorded(record: Mapping[str, Any], where: str) -> Family:
    name, settings = record["space"], record["settings"]
    try:
        return family(name, **settings)
    except NetwrightError as error:
        raise NetwrightError(
            f"{where} was made with space and settings that are not of this netwright. {error}"
        ) from error


def _from(own: Any) -> str:
    return f" of {own.get('space')}" if isinstance(own, dict) else ""


def _plain(record: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(record))
    except (TypeError, ValueError) as error:
        raise NetwrightError(f"Space {name!r}: its settings must be plain JSON values ({error}).") from error
