"""What all tests share: one thread a process, and repeatable property tests."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before torch and numpy are imported; child processes inherit it
os.environ["MPLBACKEND"] = "agg"

import pytest
from hypothesis import settings

settings.register_profile("netwright", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("netwright")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """Keep the device files of the person who runs the tests out of them."""
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
