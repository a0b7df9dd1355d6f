"""Files that are either wholly written or not there: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place.

    On any failure (also a full disk or a kill) `path` keeps what it held before.

    Raises:
        NetwrightError: the file cannot be written (no space, no permission, no such folder), or is none (a device); says
            whether there is an earlier one.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise NetwrightError(f"Cannot write {path}: it is no regular file. Give the path of a file.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise NetwrightError(f"Cannot write {path}: {error.strerror or error}. {told(path.exists())}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, readable by people and stable in its order."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NetwrightError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise NetwrightError(f"{path} is not valid JSON ({error}). Was it cut off or edited?") from error


def publish_folder(
    scratch: Path, target: Path, names: Iterable[str] | None = None, *, earlier: Iterable[str] = ()
) -> None:
    """Put the finished files of one folder in the place of those of another.

    Everything is first copied onto the target's disk, so that a full disk leaves an earlier result whole; then each file
    takes its place, all of them even if interrupted. Other files of the target stay.

    Args:
        scratch: the folder that is finished; it may be on another disk, and is left as it is.
        target: the folder to put it into; made where it is missing.
        names: files of `scratch`, relative to it; None: all of them.
        earlier: files of the result that is replaced, which go where the new one has no such file.

    Raises:
        NetwrightError: the target cannot be written; what it held before, if anything, is kept.
    """
    files = [str(file.relative_to(scratch)) for file in sorted(scratch.rglob("*")) if file.is_file()]
    files = files if names is None else list(names)
    new = not target.exists()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = target.parent if new else target
        with tempfile.TemporaryDirectory(prefix=".netwright-", dir=place) as beside:
            for name in files:
                copy = Path(beside) / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(scratch / name, copy)
                with copy.open("rb+") as file:
                    os.fsync(file.fileno())
            for folder in {(target / name).parent for name in files}:
                folder.mkdir(parents=True, exist_ok=True)
            _move_all(Path(beside), target, files)
        for name in set(earlier) - set(files):
            (target / name).unlink(missing_ok=True)
        _sync_directory(target)
    except OSError as error:
        if new and target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        raise NetwrightError(f"Cannot write {target}: {error.strerror or error}. {told(not new)}") from error


def told(existed: bool) -> str:
    """Say what is at a path that could not be written."""
    return "What it held before is kept." if existed else "Nothing was there before."


def _move_all(source: Path, target: Path, names: list[str]) -> None:
    left = list(names)
    try:
        while left:
            (source / left[0]).replace(target / left[0])
            left.pop(0)
    except KeyboardInterrupt:  # half of two results would be none
        for name in left:
            if (source / name).exists():
                (source / name).replace(target / name)
        raise


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
