"""What all tests share: one thread a process, repeatable property tests, a home of their own."""

import os

import pytest
from hypothesis import settings

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # torch and numpy, imported later, read these; child processes inherit them
os.environ["MPLBACKEND"] = "agg"

settings.register_profile("netwright", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("netwright")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """Keep the device files of the person who runs the tests out of them."""
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
