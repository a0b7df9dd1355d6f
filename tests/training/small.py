"""A space, a data set and recipes so small that a step takes milliseconds; shared with the processes tests start."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from netwright.core.run import Run
from netwright.core.seeds import derive_seed
from netwright.data import Dataset, ImageSet
from netwright.models.family import Family
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks
from netwright.models.space import SearchSpace
from netwright.nn.layers import Norm
from netwright.supernet.supernet import Supernet
from netwright.training.recipe import Recipe, recipe


def small_family(normalization: Norm = "batch") -> Family:
    """Return a mobile space of 8-pixel networks with every elastic field."""
    stages = (Stage(8, 2, "relu", True, blocks=2), Stage(16, 1, "hswish", blocks=2))
    config = MobileConfig(3, 8, 1, "relu", 8, stages, 16, normalization=normalization)
    space = SearchSpace(
        "small",
        (6, 8),
        depths=((1, 2),) * 2,
        kernels=((3, 5),) * 4,
        expansions=((2, 4),) * 4,
        widths=((0.5, 1.0),),
    )
    return Family(space, functools.partial(mobile_blocks, config))


def colours(count: int = 96, seed: int = 0) -> Dataset:
    """Return noisy 8-pixel images whose class is the brightest channel."""
    rng = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(count) % 3
    noise_NCHW = torch.randint(0, 120, (count, 3, 8, 8), generator=rng)
    noise_NCHW[torch.arange(count), labels_N] += 60
    images = ImageSet(noise_NCHW.to(torch.uint8), labels_N)
    rest, held = images.select(torch.arange(count - 24)), images.select(torch.arange(count - 24, count))
    return Dataset("colours", rest, held, ("red", "green", "blue"), (0.3,) * 3, (0.2,) * 3)


def small_supernet(seed: int = 0, normalization: Norm = "batch") -> Supernet:
    """Return a freshly initialised supernet."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "weights"))
        return Supernet(small_family(normalization))


def small_recipe(method: str, /, **fields: Any) -> Recipe:
    """Return a recipe of a dozen steps: three an epoch."""
    defaults = {"epochs": 4.0, "batch_size": 24, "learning_rate": 0.1, "warmup_epochs": 0.4, "evaluate_every": 2.0}
    return recipe(method, **{**defaults, "subnets_per_step": 3, "calibration_images": 48, **fields})


def small_run(path: Path, recipe: Recipe) -> Run:
    """Make or reopen a run."""
    return Run.create(path, {"kind": "supernet", "space": "small", "recipe": recipe.to_json()})
