"""C of a streaming segment, in terms of the row calls of the layers' kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netwright.mcu.network import Network
from netwright.mcu.stream import Segment


@dataclass(frozen=True)
class SegmentCode:
    """`text`: C functions to stand after the layers' constants; `call`: the statement that runs the segment; `kernels`: the
    headers it needs besides those of its layers ("planar": nw_planar.h).
    """

    text: str
    call: str
    kernels: frozenset[str]


def segment_code(
    network: Network, segment: Segment, offsets: Mapping[int, int], names: Mapping[int, str], name: str, arena: str
) -> SegmentCode:
    """Return the C of a segment.

    `offsets`: `Schedule.offsets`. `names`: by layer, the name that its constants were given (`data(network, layer, name)`).
    `name`: prefix for the functions made here. `arena`: C expression of the arena, `int8_t *`.
    """
    raise NotImplementedError
