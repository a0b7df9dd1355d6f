"""How large the images of a source are, from the heads of some of its files: nothing is decoded."""

from __future__ import annotations

import contextlib
import io
import statistics

from PIL import Image

from netwright.data.decode import FORMATS
from netwright.data.items import Items

SAMPLED = 200


def typical_side(items: Items) -> int | None:
    """Return the median of the shorter sides, in pixels, of up to 200 images spread over a source; None: none can be read."""
    sides = []
    for position in range(0, len(items.names), max(1, len(items.names) // SAMPLED)):
        with contextlib.suppress(Exception):  # image parsers raise anything; decoding names what cannot be read
            content, _ = items.open(position)
            image = content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content), formats=FORMATS)
            sides.append(min(image.size))
    return round(statistics.median(sides)) if sides else None
