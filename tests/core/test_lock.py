"""A directory has one writer at a time; the lock ends with its process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.lock import check_free, sole_writer

HOLD = """
import pathlib, sys, time
from netwright.core.lock import sole_writer
with sole_writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_which_is_the_first(other, tmp_path):
    for attempt in (lambda: sole_writer(tmp_path).__enter__(), lambda: check_free(tmp_path)):
        with pytest.raises(NetwrightError, match=f"Process {other.pid} writes into {tmp_path}.*Wait until"):
            attempt()


def test_the_lock_of_a_killed_process_is_gone(other, tmp_path):
    other.kill()
    other.wait()
    check_free(tmp_path)
    with sole_writer(tmp_path), pytest.raises(NetwrightError, match="This process itself"):
        check_free(tmp_path)
    check_free(tmp_path)


def test_who_only_looks_does_not_stop_a_writer(tmp_path):
    with sole_writer(tmp_path):
        pass
    looks = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)
    check_free(tmp_path)
    os.close(looks)
    check_free(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(tmp_path, monkeypatch, capsys, number):
    def no_locks(handle, kind):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with sole_writer(tmp_path):
        assert "without locks" in capsys.readouterr().err


def test_a_full_disk_leaves_the_lock_without_a_number(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with sole_writer(tmp_path), pytest.raises(NetwrightError, match="Another process writes"):
        check_free(tmp_path)
