"""Networks whose blocks read others than the one before."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.nn.block import INPUT, Reads
from netwright.nn.fuse import Fuse
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.nn.wiring import BranchedNetwork, assemble, wire

STEM, SIDE, FUSE, HEAD = ConvNorm(3, 8, 3), ConvNorm(8, 8, 3, 2), Fuse((8, 8), 8, upsample=(1, 2)), PoolHead(8, 4)


def branched() -> dict:
    return {"stem": STEM, "side.0": SIDE, "join": Reads(FUSE, ("stem", "side.0")), "head": HEAD}


def test_a_chain_stays_a_sequential():
    net = assemble({"stem": STEM, "side.0": SIDE, "head": HEAD})
    assert type(net) is nn.Sequential and wire({"stem": STEM, "head": HEAD}).is_chain
    spelt = {"stem": Reads(STEM, (INPUT,)), "side.0": Reads(SIDE, ("stem",)), "head": HEAD}
    assert type(assemble(spelt)) is nn.Sequential
    assert list(assemble(spelt).state_dict()) == list(net.state_dict())


def test_a_block_that_reads_the_one_before_and_another_makes_no_chain():
    blocks = {**branched(), "join": Reads(Fuse((8, 8), 8, upsample=(2, 1)), ("side.0", "stem"))}
    assert not wire(blocks).is_chain
    net = assemble(blocks).eval()
    x_BCHW = torch.randn(2, 3, 8, 8)
    stem = net.get_submodule("stem")(x_BCHW)
    joined = net.get_submodule("join")(net.get_submodule("side.0")(stem), stem)
    assert torch.equal(net(x_BCHW), net.get_submodule("head")(joined))


def test_a_branched_network_computes_what_is_written_by_hand():
    net = assemble(branched()).eval()
    assert isinstance(net, BranchedNetwork)
    x_BCHW = torch.randn(2, 3, 8, 8)
    stem = net.get_submodule("stem")(x_BCHW)
    joined = net.get_submodule("join")(stem, net.get_submodule("side.0")(stem))
    assert torch.equal(net(x_BCHW), net.get_submodule("head")(joined))
    assert torch.equal(copy.deepcopy(net)(x_BCHW), net(x_BCHW))
    assert torch.equal(pickle.loads(pickle.dumps(net))(x_BCHW), net(x_BCHW))  # noqa: S301 - our own bytes
    assert {name.split(".")[0] for name in net.state_dict()} == {"stem", "side", "join", "head"}


def test_values_are_dropped_after_their_last_reader():
    turns = {turn.name: turn for turn in wire(branched()).turns}
    assert turns["stem"].done == (INPUT,)
    assert turns["side.0"].done == ()
    assert set(turns["join"].done) == {"stem", "side.0"}
    assert turns["head"].done == ("join",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"join": Reads(FUSE, ("stem", "sied.0"))}, "'sied.0'.*Did you mean 'side.0'"),
        ({"side.0": Reads(SIDE, ("join",))}, "'side.0' reads 'join', which comes later"),
        ({"side.0": Reads(SIDE, ("side.0",))}, "'side.0' reads 'side.0', which comes later"),
        ({"join": FUSE}, "'join' reads 1 values .*takes 2"),
        ({"head": Reads(HEAD, ("stem", "join"))}, "'head' reads 2 values .*takes 1"),
        ({"head": Reads(HEAD, ("stem",))}, "Nobody reads 'join'"),
        ({"side.0": Reads(SIDE, (INPUT,)), "join": SIDE}, "Nobody reads 'stem'"),
        ({INPUT: STEM}, "called 'image'"),
    ],
)
def test_impossible_wirings_are_named(change, words):
    with pytest.raises(NetwrightError, match=words):
        wire(branched() | change)


@pytest.mark.parametrize("names", ["stem", (), ("stem", 3), ["stem"]])
def test_reads_takes_a_tuple_of_names(names):
    with pytest.raises(NetwrightError, match="tuple of the names"):
        Reads(HEAD, names)


def test_fuse_refuses_what_does_not_fit():
    assert FUSE.out_shape((8, 8, 8), (8, 4, 4)) == (8, 8, 8)
    with pytest.raises(NetwrightError, match="one size, not 8x8, 6x6"):
        FUSE.out_shape((8, 8, 8), (8, 3, 3))
    for strides, factors in (((1,), ()), ((1, 3), ()), ((1, 2, 1), ()), ((), (1,)), ((), (1, 0))):
        with pytest.raises(NetwrightError, match="for each of 2 inputs"):
            Fuse((8, 8), 8, strides, factors).build()
