"""A family of two branches: a block reads two earlier ones. Also: --space tests/extension/two_branch.py:two_branch.

The layout is that of BiSeNet (Yu et al. 2018, arXiv:1808.00897): a detail branch of high resolution beside a context
branch of low resolution, and a block that fuses both.
"""

from __future__ import annotations

from typing import Literal

from netwright import Arch, Family, SearchSpace
from netwright.nn.block import Reads, divisible
from netwright.nn.fuse import Fuse
from netwright.nn.mbconv import MBConv
from netwright.nn.simple import ConvNorm, PoolHead
from netwright.nn.wiring import Blocks


def two_branch(*, classes: int = 4, size: int = 32, join: Literal["sum", "concatenate"] = "sum") -> Family:
    """Return the family: elastic resolution, depth of both branches, kernel size, expansion ratio, and width."""
    space = SearchSpace(
        name="two-branch",
        resolutions=(size // 2, size),
        depths=((1, 2), (1, 2)),
        kernels=((3, 5),) * 4,
        expansions=((2, 4),) * 4,
        widths=((0.5, 1.0),),
    )

    def blocks(arch: Arch) -> Blocks:
        detail, context = divisible(16 * arch.widths[0]), divisible(32 * arch.widths[0])
        made: dict = {"stem": ConvNorm(3, detail, 3, 2, "relu")}
        ends = []
        for branch, (name, width, stride) in enumerate((("detail", detail, 1), ("context", context, 2))):
            channels = detail
            for index in range(int(arch.depths[branch])):
                kernel, ratio = arch.kernels[2 * branch + index], arch.expansions[2 * branch + index]
                block = MBConv(channels, width, int(channels * ratio), int(kernel), stride if index == 0 else 1, "relu")
                made[f"{name}.{index}"] = block if index else Reads(block, ("stem",))
                channels = width
            ends.append(f"{name}.{int(arch.depths[branch]) - 1}")
        if join == "sum":  # at the low resolution
            made["fuse"] = Reads(Fuse((context, detail), 24, (1, 2)), (ends[1], ends[0]))
        else:  # at the high one
            made["fuse"] = Reads(Fuse((detail, context), 24, upsample=(1, 2), join=join), tuple(ends))
        made["head"] = PoolHead(48 if join == "concatenate" else 24, classes)
        return made

    return Family(space, blocks, settings={"classes": classes, "size": size, "join": join})
