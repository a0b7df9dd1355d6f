"""How a verb ends: its result on standard output, its failure in one message, and nothing else there."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import typer

from netwright.core.errors import NetwrightError

SPACE_AGAIN = "The run's space again, FILE.py:NAME, where it was trained with one of your own."
TASK_AGAIN = "The run's task again, FILE.py:NAME, where it was trained for one of your own."
GOES_ON = "What was finished is kept: repeat the same command to go on from there."
BEGINS_ANEW = "It was not finished: repeated, the same command begins anew."
FAILED, BUG, INTERRUPTED, PIPE_CLOSED = 1, 70, 130, 141
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Result:
    """What a verb prints: `data` with --json, otherwise `show` (texts and rich renderables).

    `failed`: why what was asked could not be had, although there is a result to look at; the verb then exits with 1.
    """

    data: dict[str, Any]
    show: list[Any]
    failed: str | None = None


def verb(function: Callable[..., Result], *, resumable: bool = True) -> Callable[..., None]:
    """Make a command of a function that returns a `Result`.

    `resumable`: whether, once interrupted, it goes on from there when it is called again; an interrupt says which.

    While it works, whatever prints to standard output is sent to standard error, so that standard output holds
    the result and nothing else. Exit codes: 0; 1 for a failure that the message explains; 2 for wrong usage (from
    typer); 70 for a bug; 130 when interrupted; 141 when the reader of the output went away.
    """

    @functools.wraps(function)
    def command(*args: Any, **options: Any) -> None:
        try:
            with _output_to_stderr():
                result = function(*args, **options)
            _print(result, as_json=bool(options.get("json")))
            if result.failed is not None:
                _fail(f"Error: {result.failed}", FAILED)
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            _fail(f"\nStopped. {GOES_ON if resumable else BEGINS_ANEW}", INTERRUPTED)
        except BrokenPipeError:
            _mute_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        except NetwrightError as error:
            _fail(f"Error: {error}", FAILED)
        except OSError as error:
            _fail(_describe(error), FAILED)
        except Exception as error:  # noqa: BLE001 - the last resort: nobody should meet a bare traceback
            text = str(error).strip().splitlines()
            _fail(
                f"Unexpected {type(error).__name__}: {text[0] if text else 'no message'}. "
                "This is a bug in netwright; set NETWRIGHT_DEBUG=1 to see where it happened.",
                BUG,
            )

    return command


def _print(result: Result, *, as_json: bool) -> None:
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    if as_json:
        print(json.dumps(_finite(result.data), indent=1, allow_nan=False))
    else:
        from rich.console import Console

        console = Console(highlight=False, markup=False, emoji=False)
        with console.capture() as written:  # rich would end the process itself on a closed pipe
            for item in result.show:
                console.print(item, soft_wrap=isinstance(item, str))
        sys.stdout.write(written.get())
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be computed becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fail(message: str, code: int) -> None:
    if os.environ.get("NETWRIGHT_DEBUG") and code != INTERRUPTED:
        traceback.print_exc()
    _mute_stdout()
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    raise typer.Exit(code) from None


def _describe(error: OSError) -> str:
    where = f" while writing {error.filename}" if error.filename else ""
    if error.errno in _NO_SPACE:
        return f"Error: no space left{where}. Free some space and repeat the command."
    return f"Error: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}."


def _mute_stdout() -> None:
    """Drop what could not be written, so that the interpreter does not fail on it once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Redirect Python's standard output and the file descriptor under it, which native code and child processes use."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
