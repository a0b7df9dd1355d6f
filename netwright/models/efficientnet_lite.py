"""EfficientNet-Lite: EfficientNet without squeeze-excitation and with ReLU6, for phones and microcontrollers.

EfficientNet, Tan and Le 2019, arXiv:1905.11946, Table 1 and Section 3.3; the Lite variants are Google's (2020). Weights
trained on ImageNet exist; `netwright.models.pretrained` reads them. The largest network of a family is the published
one; the others have up to one block a stage less, narrower blocks, smaller kernels and smaller images: what is far
from the published network inherits little from it.
"""

from __future__ import annotations

import functools
import math

from netwright.core.errors import NetwrightError
from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.space import SearchSpace
from netwright.nn.block import divisible

VARIANTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}  # width, depth
_STAGES = ((24, 2, 3, 2), (40, 2, 5, 2), (80, 2, 3, 3), (112, 1, 5, 3), (192, 2, 5, 4), (320, 1, 3, 1))


def efficientnet_lite(*, classes: int = 1000, size: int = 224, variant: int = 0) -> Family:
    """The networks within EfficientNet-Lite0 to 4, for inputs up to `size` pixels.

    Raises:
        NetwrightError: another variant.
    """
    if variant not in VARIANTS:
        raise NetwrightError(f"EfficientNet-Lite has the variants {', '.join(map(str, VARIANTS))}, not {variant}.")
    width, depth = VARIANTS[variant]
    repeats = [count if count == 1 else math.ceil(count * depth) for _, _, _, count in _STAGES]
    config = MobileConfig(
        classes=classes,
        stem_channels=32,
        stem_stride=2,
        stem_activation="relu6",
        first_channels=divisible(16 * width),
        stages=tuple(
            Stage(divisible(channels * width), stride, "relu6", blocks=count)
            for (channels, stride, _, _), count in zip(_STAGES, repeats, strict=True)
        ),
        last_channels=1280,
        eps=1e-3,
        padding="same",
    )
    kernels = [kernel for (_, _, kernel, _), count in zip(_STAGES, repeats, strict=True) for _ in range(count)]
    space = SearchSpace(
        name="efficientnet-lite",
        resolutions=tuple(sorted({*range(64, size, 16), size})),
        depths=tuple((count - 1, count) if count > 1 else (1,) for count in repeats),
        kernels=tuple((3, 5) if kernel == 5 else (3,) for kernel in kernels),
        expansions=((3, 4, 6),) * len(kernels),
    )
    return Family(
        space, functools.partial(mobile_blocks, config), settings={"classes": classes, "size": size, "variant": variant}
    )
