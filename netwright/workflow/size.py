"""At which size images are trained, where nobody says so: as large as they are and the machine affords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.core.run import Run

if TYPE_CHECKING:
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace

SIZES = (32, 64, 96, 128, 160, 192, 224)
LARGEST_ON_A_CPU = 96  # a step at 224 pixels takes five times as long


def size_of(
    data: str, space: GivenSpace, size: int | None, of_space: Mapping[str, Any], draft: Family, begun: Run | None
) -> tuple[int | None, int, str]:
    """Return the size that the space's function is called with (None: its own), that of the images, and why it is that.

    A size that was given wins; then that of a run that was begun; then that of a space which takes none; else it is chosen.

    Args:
        size: what was given.
        of_space: further settings of the space.
        draft: the family, as `draft_family` makes it.
    """
    import torch

    from netwright.models.own_space import open_size

    is_open, usual = open_size(space, of_space)
    if begun is not None and size in (None, begun.config["data"]["size"]) and "size" not in of_space:
        had, own = begun.config["data"]["size"], begun.config.get("own")
        called = own.get("called_with", {}).get("size") if isinstance(own, dict) else None if had == usual else had
        return called, had, f"as the run in {begun.path} has them"
    if size is not None:
        return size, size, "as --size says"
    if not is_open:
        return None, max(draft.space.resolutions), f"the largest of space {draft.space.name}"
    chosen, reason = choose_size(data, gpu=torch.cuda.is_available())
    return None if chosen == usual else chosen, chosen, f"{reason}; --size sets another"


def draft_family(space: GivenSpace, size: int | None, of_space: Mapping[str, Any]) -> Family:
    """Return the family that a space makes before the data is known, which shows what is wrong with its settings."""
    from netwright.models.own_space import make_family, open_size

    is_open, usual = open_size(space, of_space)
    needs_one = is_open and usual is None and size is None
    return make_family(space, size=SIZES[0] if needs_one else size, given=of_space)


def choose_size(source: str, gpu: bool) -> tuple[int, str]:
    """Return a size in pixels for the images of a source, and the reason in words.

    It is the largest of `SIZES` that the images (the median of their shorter sides) are not smaller than, that is no larger than
    96 where there is no GPU, and at which all of them fit into the memory, decoded; at least 32, as for images of 8 or
    28 pixels.

    Raises:
        NetwrightError: nothing usable at the source.
    """
    from netwright.data.load import look_at

    count, side = look_at(source)
    if side is None:
        return SIZES[0], "none of the images looked at can be read"
    chosen = max((size for size in SIZES if size <= side), default=SIZES[0])
    reason = f"their shorter side is typically {side}"
    if chosen > LARGEST_ON_A_CPU and not gpu:
        chosen = LARGEST_ON_A_CPU
        reason += ", and more takes long without a GPU"
    fitting = max((size for size in SIZES if size <= chosen and _fits(count, size)), default=SIZES[0])
    if fitting < chosen:
        reason += f", and {count:,} images of {chosen} would not fit into the memory"
    return fitting, reason


def _fits(count: int, size: int) -> bool:
    from netwright.data.decode import check_memory

    try:
        check_memory(count, size)
    except NetwrightError:
        return False
    return True
