"""Tables of names: what each thing of a kind is called, beside where it is defined.

A row says `"evolution": "netwright.searching.strategies.evolution:search"`, so that help texts and error messages
list names without importing anything; the thing itself is imported when it is first used. Where a name is allowed, so
is the thing itself, and in texts also FILE.py:NAME, a thing of the user's own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Generic, TypeVar

from netwright.core.errors import NetwrightError, unknown

T = TypeVar("T")
OWN = "FILE.py:NAME"
_PREFIX = "netwright_own_"  # of the modules that files of the user's own become


class Table(Mapping[str, T], Generic[T]):
    """Things of one kind by name.

    Attributes:
        what: the kind, as messages call it: "Strategy".
        rows: name -> "module:attribute".
        kind: "module:class" that a thing of the user's own must be an instance of; "": anything that can be called.
    """

    def __init__(self, what: str, rows: Mapping[str, str], kind: str = ""):
        self.what, self.rows, self.kind = what, dict(rows), kind

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self.rows[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    @property
    def help(self) -> str:
        """What is allowed, for help texts."""
        return f"{', '.join(self.rows)}, or {OWN}"

    def find(self, given: str | T) -> T:
        """Return what a name or FILE.py:NAME stands for; the thing itself is returned as it is.

        Raises:
            NetwrightError: no such name, or what was found is of another kind.
        """
        if isinstance(given, str) and given in self.rows:
            return self[given]
        found: Any = load_own(given) if isinstance(given, str) and is_own(given) else given
        if isinstance(found, str):
            raise unknown(self.what, found, (*self.rows, OWN))
        self._check(given, found)
        return found

    def check(self, given: str | T) -> None:
        """Refuse a name that is not known, without importing anything of netwright's.

        Raises:
            NetwrightError: as `find`.
        """
        if not (isinstance(given, str) and given in self.rows):
            self.find(given)

    def _check(self, given: object, found: object) -> None:
        module, _, name = self.kind.partition(":")
        wanted = getattr(importlib.import_module(module), name) if name else None
        if isinstance(found, wanted) if wanted else callable(found):
            return
        raise NetwrightError(
            f"{self.what} {given!r} is a {type(found).__name__}; {f'a {name}' if name else 'a function'} is needed. "
            f"Allowed: {self.help}."
        )


def is_own(text: str) -> bool:
    """Whether a text has the form FILE.py:NAME."""
    return text.partition(":")[0].endswith(".py")


def name_of(given: object) -> str:
    """Return what a thing is called in records: its text, else its own name."""
    if isinstance(given, str):
        return given
    return str(getattr(given, "name", None) or getattr(given, "__name__", type(given).__name__))


def give_again(where: object, kind: str, recorded: object) -> NetwrightError:
    """Return the error for a record that names a thing of the user's own: it is not run because a file names it."""
    text = str(recorded)
    return NetwrightError(
        f"{where} was made with a {kind} of your own, {text}. What a file names is not executed on its own: give it again "
        f"with --{kind} {text if is_own(text) else OWN}, in Python with {kind}=..."
    )


def load_own(text: str) -> Any:
    """Return NAME of FILE.py; the file is run as a program, once in a process.

    Raises:
        NetwrightError: no such file or name, or the file fails.
    """
    file, _, name = text.partition(":")
    path = Path(file)
    if not path.is_file():
        raise NetwrightError(f"There is no file {path}. Write FILE.py:NAME, for example nets.py:mine.")
    module = _run_file(path)
    if not name:
        raise NetwrightError(f"Which name of {path} is meant? Write {path}:NAME. It defines: {_defined(module)}.")
    if not hasattr(module, name):
        raise unknown(f"{path}: name", name, _defined_names(module))
    return getattr(module, name)


def own_files() -> list[str]:
    """Return the files that `load_own` has run in this process, so that worker processes can run them too."""
    loaded = (getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith(_PREFIX))
    return [file for file in loaded if file]


def run_files(files: Iterable[str]) -> None:
    """Run files of one's own, as `own_files` of another process listed them: what they define can be unpickled then."""
    for file in files:
        _run_file(Path(file))


def _run_file(path: Path) -> ModuleType:
    where = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if where in sys.modules:
        return sys.modules[where]
    spec = importlib.util.spec_from_file_location(where, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[where] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except NetwrightError:
        del sys.modules[where]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[where]
        raise NetwrightError(f"{path} failed with {type(error).__name__}: {error}") from error
    return module


def _defined_names(module: ModuleType) -> list[str]:
    """Return the functions and classes that a file defines, and its other values; not what it imports or keeps to itself."""
    imported = ("__future__", "typing", "builtins")

    def made_here(value: object) -> bool:
        if isinstance(value, type | FunctionType):
            return value.__module__ == module.__name__
        return not isinstance(value, ModuleType) and type(value).__module__ not in imported

    return [name for name, value in vars(module).items() if not name.startswith("_") and made_here(value)]


def _defined(module: ModuleType) -> str:
    return ", ".join(sorted(_defined_names(module))) or "nothing"
