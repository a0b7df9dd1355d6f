"""The limits on memory of devices that are no microcontrollers: peak memory of inference, and of a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError
from netwright.core.units import BYTES
from netwright.searching.limits.kind import Asked, LimitKind

if TYPE_CHECKING:
    from netwright.searching.limits.training import TrainingTable
    from netwright.searching.tables import MaxTable

MODE, BATCH = "full", 1
_MB = 1024.0**2


def peak_memory_table(asked: Asked) -> MaxTable:
    """Return the bytes of activations alive at once in one inference, batch 1, float32, under the rules "planned".

    The greatest peak of a network's blocks. Blocks run one after the other and only the tensor between two of them
    outlives one, so this is the peak of the whole network's plan (`cost.memory.inference`), exactly where each block reads
    only the one before.

    Raises:
        NetwrightError: a block of the family reads several inputs, which then outlive the blocks between.
    """
    from netwright.searching.limits.captured import peak_of, price_blocks, refuse_branches

    refuse_branches(asked, "peak_memory")
    return asked.greatest(price_blocks(asked, "peak memory", lambda block, *shapes: peak_of(block, shapes)))


def training_memory_table(asked: Asked) -> TrainingTable:
    """Return the bytes of one training step: see `TrainingTable`.

    Raises:
        NetwrightError: a block of the family reads several inputs.
    """
    from netwright.searching.limits.captured import refuse_branches
    from netwright.searching.limits.training import TrainingTable

    refuse_branches(asked, "training_memory")
    mode, batch = mode_and_batch(asked.settings or f"{MODE}:{BATCH}")
    return TrainingTable(asked.family, mode, batch, layout=asked.layout)


def mode_and_batch(text: str) -> tuple[str, int]:
    """Read MODE:BATCH, "bias:8": which parameters learn (as in `profile(train=...)`), and how many images a step takes.

    Raises:
        NetwrightError: the batch is not a number of at least 1, or nothing names a mode.
    """
    mode, _, batch = text.rpartition(":")
    if not mode or not batch.isdigit() or int(batch) < 1:
        raise NetwrightError(
            f"training_memory@{text}: write training_memory@MODE:BATCH=VALUE, for example training_memory@bias:8=30MB. Modes: "
            f"full, last, bias, norm+last, or a pattern of parameter names. Without them: {MODE}:{BATCH}."
        )
    return mode, int(batch)


def _one_spelling(text: str) -> str:
    mode, batch = mode_and_batch(text)
    return f"{mode}:{batch}"


PEAK_MEMORY = LimitKind(
    "peak_memory",
    "peak_memory_bytes",
    "bytes",
    BYTES,
    peak_memory_table,
    short=(_MB, "MB peak memory"),
    typed="B",
    rank=6,
)
TRAINING_MEMORY = LimitKind(
    "training_memory",
    "training_memory_bytes",
    "bytes",
    BYTES,
    training_memory_table,
    short=(_MB, "MB training memory"),
    typed="B",
    rank=8,
    check=_one_spelling,
)
