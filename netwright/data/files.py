"""The files below a directory or in a zip archive: names, sizes, contents. Nothing is extracted."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from netwright.core.errors import NetwrightError

_LARGEST_FILE = 512 << 20  # no single photograph is larger; a zip bomb is


@dataclass(frozen=True)
class Tree:
    """The files and folders of a directory or archive.

    Attributes:
        stamps: file name (with forward slashes) to what changes when the file does: size, and time or checksum.
        folders: every folder, also the empty ones.
        read: from a file name to its bytes.
        left_out: links that lead nowhere, or back to a folder around them, as "name: reason".
    """

    path: Path
    stamps: dict[str, str]
    folders: frozenset[str]
    read: Callable[[str], bytes]
    left_out: tuple[str, ...] = ()


def open_tree(path: Path, stack: contextlib.ExitStack) -> Tree:
    """List a directory or a zip archive; the archive stays open as long as `stack`.

    Raises:
        NetwrightError: no such path, not readable, not a zip archive, or encrypted.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise NetwrightError(missing(path)) from None
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    if stat.S_ISDIR(mode):
        return _open_directory(path)
    if not stat.S_ISREG(mode):
        raise NetwrightError(f"{path} is neither a directory nor a zip archive.")
    return _open_zip(path, stack)


def missing(path: Path) -> str:
    """Return the message for a path that does not exist: it names the nearest parent that does."""
    nearest = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    return f"{path} does not exist; the nearest folder that does is {nearest}."


def _open_directory(path: Path) -> Tree:
    stamps: dict[str, str] = {}
    folders: set[str] = set()
    left_out: list[str] = []

    def walk(folder: Path, prefix: str, around: frozenset[tuple[int, int]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    place = _place(entry.stat())
                    if place in around:  # following it would never end; other links to a folder are followed
                        left_out.append(f"{prefix}{entry.name}: a link back to a folder around it")
                        continue
                    folders.add(prefix + entry.name)
                    yield from walk(Path(entry.path), f"{prefix}{entry.name}/", around | {place})
                elif entry.is_file():
                    yield prefix + entry.name, entry
                elif entry.is_symlink():
                    left_out.append(f"{prefix}{entry.name}: a link that leads nowhere")

    try:
        for name, entry in walk(path, "", frozenset({_place(path.stat())})):
            info = entry.stat()
            stamps[name] = f"{info.st_size} {info.st_mtime_ns}"
    except OSError as error:
        raise NetwrightError(f"Cannot list {error.filename or path}: {error.strerror or error}.") from error

    def read(name: str) -> bytes:
        file = path / name
        _check_size(file.stat().st_size)
        return file.read_bytes()

    return Tree(path, stamps, frozenset(folders), read, tuple(sorted(left_out)))


def _place(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _open_zip(path: Path, stack: contextlib.ExitStack) -> Tree:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise NetwrightError(
            f"{path} is not a usable zip archive ({error}). Give a directory or .zip of class folders; "
            "unpack other archives first."
        ) from error
    except OSError as error:
        raise NetwrightError(f"Cannot read {path}: {error.strerror or error}.") from error
    infos = {_relative(info.filename): info for info in archive.infolist()}
    encrypted = [name for name, info in infos.items() if info.flag_bits & 1]
    if encrypted:
        raise NetwrightError(f"{path} is encrypted (for example {encrypted[0]}). Unpack it with its password first.")
    files = {name: info for name, info in infos.items() if name and not name.endswith("/")}
    folders = {name.rstrip("/") for name in infos if name.endswith("/")} - {""}
    folders |= {str(parent) for name in {*files, *folders} for parent in PurePosixPath(name).parents[:-1]}

    def read(name: str) -> bytes:
        _check_size(files[name].file_size)
        return archive.read(files[name])

    stamps = {name: f"{info.file_size} {info.CRC:08x}" for name, info in files.items()}
    return Tree(path, stamps, frozenset(folders), read)


def _relative(name: str) -> str:
    """Return an archive's name of a file as a plain path below its top; that of a folder keeps the slash at its end.

    Tools write them from "./", from "/" or a drive, and with backslashes.
    """
    plain = posixpath.normpath("/" + name.replace("\\", "/").lstrip("/"))[1:]
    return f"{plain}/" if name.endswith(("/", "\\")) else plain


def _check_size(size: int) -> None:
    if size > _LARGEST_FILE:
        raise ValueError(f"{size >> 20} MB is too large for one image")
