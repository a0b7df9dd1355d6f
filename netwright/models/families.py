"""The families that come with netwright, by name. Each is a function of plain settings that returns a `Family`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.ofa_families import ofa_mobilenet_v3, ofa_proxyless, ofa_resnet50
from netwright.models.space import SearchSpace
from netwright.models.vit import vit_blocks, vit_config
from netwright.nn.layers import Norm


def small_resolutions(size: int) -> tuple[int, ...]:
    """Return three input sizes up to `size`: 3/4, 7/8 and all of it, in steps of 4 pixels."""
    return tuple(sorted({max(8, round(size * part / 4) * 4) for part in (0.75, 0.875)} | {size}))


def mobilenet_v3_small(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """MobileNetV3-Small's stages (arXiv:1905.02244, Table 2) for inputs of 32 to 96 pixels, with strides to match."""
    config = MobileConfig(
        classes=classes,
        stem_channels=16,
        stem_stride=1 if size < 64 else 2,
        stem_activation="hswish",
        first_channels=16,
        stages=(
            Stage(24, 2, "relu"),
            Stage(40, 2, "hswish", True),
            Stage(48, 1, "hswish", True),
            Stage(96, 2, "hswish", True),
        ),
        last_channels=288,
        head_channels=512,
        normalization=normalization,
    )
    space = SearchSpace(
        name="mobilenet-v3-small",
        resolutions=small_resolutions(size),
        depths=((1, 2, 3),) * 4,
        kernels=((3, 5, 7),) * 12,
        expansions=((2, 3, 4),) * 12,
        widths=((0.5, 0.75, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def proxyless_small(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """The ProxylessNAS space (MobileNetV2 blocks, arXiv:1812.00332) for inputs of 32 to 96 pixels."""
    config = MobileConfig(
        classes=classes,
        stem_channels=16,
        stem_stride=1 if size < 64 else 2,
        stem_activation="relu6",
        first_channels=16,
        stages=(
            Stage(24, 2, "relu6"),
            Stage(40, 2, "relu6"),
            Stage(64, 1, "relu6"),
            Stage(96, 2, "relu6"),
        ),
        last_channels=384,
        normalization=normalization,
    )
    space = SearchSpace(
        name="proxyless-small",
        resolutions=small_resolutions(size),
        depths=((1, 2, 3),) * 4,
        kernels=((3, 5, 7),) * 12,
        expansions=((3, 4, 6),) * 12,
        widths=((0.5, 0.75, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


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


def tiny(*, classes: int = 10, size: int = 32, normalization: Norm = "batch") -> Family:
    """A very small mobile space: the demo trains it in a minute or two on two cores."""
    config = MobileConfig(
        classes=classes,
        stem_channels=8,
        stem_stride=2,
        stem_activation="relu",
        first_channels=8,
        stages=(
            Stage(16, 1, "relu", blocks=2),
            Stage(24, 2, "hswish", True, 2),
            Stage(40, 2, "hswish", True, 2),
        ),
        last_channels=96,
        head_channels=128,
        normalization=normalization,
    )
    space = SearchSpace(
        name="tiny",
        resolutions=small_resolutions(size)[-2:],
        depths=((1, 2),) * 3,
        kernels=((3, 5),) * 6,
        expansions=((2, 4, 6),) * 6,
        widths=((0.5, 1.0),),
    )
    settings = {"classes": classes, "size": size, "normalization": normalization}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def vit(*, classes: int = 10, size: int = 32) -> Family:
    """Vision transformers (arXiv:2010.11929) of elastic depth, width, heads and MLP ratio (arXiv:2107.00651).

    Up to 95 pixels small ones with patches of 4 or 8 pixels; from 96 on the choices of AutoFormer-Tiny with patches of 16.
    """
    config = vit_config(classes, size)
    large = size >= 96
    depths = (12, 13, 14) if large else (4, 5, 6)
    most = max(depths)
    space = SearchSpace(
        name="vit",
        resolutions=tuple(
            config.patch * round(config.grid * part) for part in ((5 / 7, 6 / 7, 1) if large else (0.75, 0.875, 1))
        ),
        depths=(depths,),
        expansions=((3.5, 4.0) if large else (2.0, 3.0, 4.0),) * most,
        widths=((192, 216, 240) if large else (96, 128, 160),),
        heads=((3, 4) if large else (2, 3, 4, 5),) * most,
        per_block=("expansions", "heads"),
    )
    return Family(space, functools.partial(vit_blocks, config), settings={"classes": classes, "size": size})


SPACES: dict[str, Callable[..., Family]] = {
    "mcunet": mcunet,
    "mobilenet-v3-small": mobilenet_v3_small,
    "proxyless-small": proxyless_small,
    "tiny": tiny,
    "ofa-mbv3-w1.0": functools.partial(ofa_mobilenet_v3, 1.0),
    "ofa-mbv3-w1.2": functools.partial(ofa_mobilenet_v3, 1.2),
    "ofa-proxyless-w1.3": ofa_proxyless,
    "ofa-resnet50": ofa_resnet50,
    "vit": vit,
}


def family(name: str, **settings: Any) -> Family:
    """Return a family by name.

    Raises:
        NetwrightError: an unknown name, or settings the family does not have.
    """
    if name not in SPACES:
        raise unknown("Space", name, SPACES)
    try:
        return SPACES[name](**settings)
    except TypeError as error:
        raise NetwrightError(f"Space {name!r} does not take these settings: {error}.") from error
