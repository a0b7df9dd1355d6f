"""What a search maximises. Every estimator of networks has this one form, so that one can take the place of another.

    score(genes [N, G]) -> N numbers, higher is better

Each number is finite and depends on its own row alone: the same row gives the same number whatever stands beside it. A search asks
once for a generation. The accuracy predictor is a score; so is a cost table with its sign turned, a proxy that needs no training, or
an evaluation of the sub-networks themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.models.space import Genes

Floats = NDArray[np.float64]
Score = Callable[[Genes], Floats]


class SearchStopped(Exception):
    """Raised by a score that ends the search it is asked in. `scores`: those of the rows it was asked for, which count."""

    def __init__(self, scores: Floats):
        super().__init__("the search was stopped")
        self.scores = scores


def checked_scores(scores: Floats, count: int) -> Floats:
    """Return the scores of so many rows.

    Raises:
        NetwrightError: they are not one finite number a row.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise NetwrightError(f"A score must be one finite number an arch: got {scores.shape} for {count} archs.")
    return scores
