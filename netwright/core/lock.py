"""One process writes into a directory: a lock that the system gives back when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.core.progress import say

NAME = ".lock"
_TRIES, _WAIT_S = 5, 0.1  # another process that only looks (`check_free`) holds it for an instant
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a directory (flock on its file `.lock`, which holds the number of the process).

    Raises:
        NetwrightError: another process holds it, or the directory cannot be written.
    """
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise NetwrightError(f"Cannot write into {folder}: {error.strerror or error}.") from error
    try:
        _take(handle, fcntl.LOCK_EX, folder, _TRIES)
        with contextlib.suppress(OSError):  # on a full disk it stays unknown which process it is
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def check_free(folder: Path) -> None:
    """Refuse a directory that another process writes into at this moment.

    Raises:
        NetwrightError: names the process.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        handle = os.open(folder / NAME, os.O_RDONLY)
        try:
            _take(handle, fcntl.LOCK_SH, folder, 1)
        finally:
            os.close(handle)


def _take(handle: int, kind: int, folder: Path, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise NetwrightError(
                    f"{_holder(handle)} writes into {folder} at this moment. Wait until it has finished, or stop it; for "
                    "another run choose another directory (--out)."
                ) from None
            time.sleep(_WAIT_S)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise NetwrightError(f"Cannot lock {folder}: {error.strerror or error}.") from error
            return say(f"{folder} is on a file system without locks: take care that only one process writes into it.")


def _holder(handle: int) -> str:
    with contextlib.suppress(OSError, ValueError):
        number = int(os.pread(handle, 32, 0))
        return "This process itself" if number == os.getpid() else f"Process {number}"
    return "Another process"
