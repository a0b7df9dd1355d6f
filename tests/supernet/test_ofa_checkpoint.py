"""Once-for-all's own networks and ours agree when the weights are copied across."""

from __future__ import annotations

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.models.families import family
from netwright.supernet.ofa_checkpoint import load_ofa_checkpoint

pytest.importorskip("ofa", reason="the original once-for-all code is not installed (extra `test`)")

from tests.supernet import conformance

NAMES = list(conformance.NETWORKS)


@pytest.fixture(scope="module")
def mobile():
    return conformance.original("ofa-mbv3-w1.0")


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal(name):
    assert max(conformance.differences(name, count=3 if "resnet" in name else 5, size=48)) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_of_fifty_archs(name):
    assert max(conformance.differences(name, count=50, size=0, seed=1)) <= 1e-4


def test_published_spelling_and_file(mobile, tmp_path):
    """Published files say `mobile_inverted_conv` and lie in {"state_dict": ...}; older ones have no conv.conv, bn.bn."""
    state = mobile.state_dict()
    older = {
        name.replace("blocks.", "module.blocks.").replace(".conv.", ".mobile_inverted_conv.", 1).replace("bn.bn", "bn")
        if name.startswith("blocks.")
        else name: tensor
        for name, tensor in state.items()
    }
    assert set(older) != set(state) and len(older) == len(state)
    torch.save({"state_dict": older, "epoch": 3}, tmp_path / "init")
    expected = load_ofa_checkpoint(state, family("ofa-mbv3-w1.0")).state_dict()
    got = load_ofa_checkpoint(tmp_path / "init", family("ofa-mbv3-w1.0")).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_every_misfit_is_listed(mobile):
    state = dict(mobile.state_dict())
    del state["first_conv.conv.weight"]
    state["blocks.3.conv.extra.weight"] = torch.zeros(1)
    state["classifier.linear.bias"] = torch.zeros(10)
    with pytest.raises(NetwrightError) as caught:
        load_ofa_checkpoint(state, family("ofa-mbv3-w1.0"))
    message = str(caught.value)
    assert "Missing: first_conv.conv.weight" in message
    assert "Unknown: blocks.3.extra.weight" in message
    assert "classifier.linear.bias is (10,), not (1000,)" in message


def test_no_objects_are_unpickled(tmp_path):
    class Marker:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": Marker()}, tmp_path / "bad")
    (tmp_path / "text").write_text("not a checkpoint")
    torch.save([1, 2], tmp_path / "list")
    for path in ("bad", "text", "list", "absent"):
        with pytest.raises(NetwrightError):
            load_ofa_checkpoint(tmp_path / path, family("ofa-mbv3-w1.0"))


def test_only_published_families():
    with pytest.raises(NetwrightError, match="ofa-"):
        load_ofa_checkpoint({}, family("tiny"))
