"""Networks for microcontrollers: the space of MCUNet, Lin et al. 2020, arXiv:2007.10319."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.space import SearchSpace
from netwright.nn.layers import Norm


def mcunet(
    *,
    classes: int = 10,
    size: int = 32,
    least: int | None = None,
    widths: Sequence[float] = (0.25, 0.35, 0.5),
    depth: int = 3,
    normalization: Norm = "batch",
) -> Family:
    """Networks for microcontrollers: MCUNet's space (arXiv:2007.10319, Section 3.1 and Appendix B) without squeeze-excitation.

    The head reads the last stage, since a wide last convolution costs a microcontroller more flash than it is worth.
    Resolutions in steps of 16 pixels (4 below 96) from `least`, by default 3/4 of `size`; `widths` relative to ProxylessNAS's
    channels; `depth` is the most blocks a stage. TinyNAS (`search.tinynas`) chooses one resolution and one width for a device.
    """
    step, large = (16, True) if size >= 96 else (4, False)
    start = least if least is not None else round(size * 0.75 / step) * step
    config = MobileConfig(
        classes=classes,
        stem_channels=32,
        stem_stride=1 if size < 64 else 2,
        stem_activation="relu6",
        first_channels=16,
        stages=(
            Stage(24, 2, "relu6", blocks=depth),
            Stage(40, 2, "relu6", blocks=depth),
            Stage(80, 2 if large else 1, "relu6", blocks=depth),
            Stage(96, 1, "relu6", blocks=depth),
            Stage(192, 2, "relu6", blocks=depth),
            Stage(320, 1, "relu6", blocks=1),
        ),
        last_channels=0,
        normalization=normalization,
    )
    space = SearchSpace(
        name="mcunet",
        resolutions=tuple(range(start, size, step)) + (size,),
        depths=(tuple(range(1, depth + 1)),) * 5 + ((1,),),
        kernels=((3, 5, 7),) * (5 * depth + 1),
        expansions=((3, 4, 6),) * (5 * depth + 1),
        widths=(tuple(widths),),
    )
    settings = {"classes": classes, "size": size, "least": start, "widths": list(widths), "depth": depth}
    settings["normalization"] = normalization
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)
