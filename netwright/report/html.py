"""Pieces of an HTML page. Every text is escaped here, so that nothing from a file or a class name becomes markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources


@dataclass(frozen=True)
class Markup:
    """Text that is already HTML; everything else is escaped when it is put into a page."""

    text: str


def put(value: object) -> str:
    """Return a value as HTML."""
    return value.text if isinstance(value, Markup) else escape(str(value))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; an attribute `class_` is written `class`."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{put(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{''.join(put(child) for child in children)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Return the parts one after the other."""
    return Markup("\n".join(put(part) for part in parts))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers_from: int = 1) -> Markup:
    """Return a table; columns from `numbers_from` on are aligned as numbers."""

    def cells(name: str, row: Sequence[object]) -> Markup:
        return join(tag(name, cell, **({"class_": "n"} if i >= numbers_from else {})) for i, cell in enumerate(row))

    body = join(tag("tr", cells("td", row)) for row in rows)
    return tag("div", tag("table", tag("thead", tag("tr", cells("th", head))), tag("tbody", body)), class_="scroll")


def figure(picture: Markup, caption: object) -> Markup:
    """Return a picture with its caption."""
    return tag("figure", picture, tag("figcaption", caption))


def missing(what: str, how: str) -> Markup:
    """Return the note that stands where a part would be: what is not there yet, and the command that makes it."""
    return tag(
        "p", tag("strong", what), " ", tag("code", how) if how.startswith("netwright ") else how, class_="missing"
    )


def page(title: str, body: Markup) -> str:
    """Return a whole page that loads nothing from outside; the policy in its head forbids that to the browser."""
    style = resources.files("netwright.report").joinpath("style.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            tag("title", title),
            Markup(f"<style>\n{style}</style>"),
        ]
    )
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head.text}\n</head>\n<body>\n{body.text}\n</body>\n</html>\n'
