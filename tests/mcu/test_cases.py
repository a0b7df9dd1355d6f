"""The files of the data's folder `cases`, which once failed: they give the right values."""

from __future__ import annotations

import pytest

from benchmarks.cases import cases_folder, network_case

FOLDER = cases_folder()


@pytest.mark.skipif(FOLDER is None, reason="NETWRIGHT_DATA has no folder cases")
@pytest.mark.parametrize(
    "name",
    ["class-token", "gather-last-axis", "keras-conv1d-causal", "keras-conv2d-transpose", "mean-of-8"],
)
def test_a_network_that_failed_gives_the_right_values(name: str) -> None:
    assert FOLDER is not None
    _, right, got, equal = network_case(FOLDER / f"{name}.tflite")
    assert equal, f"{right}: {got}"
