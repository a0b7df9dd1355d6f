"""How a search spends the evaluations that it may make: to learn from, on what it finds, and on the best once more."""

from __future__ import annotations

from dataclasses import dataclass

from netwright.core.errors import NetwrightError
from netwright.searching.predictor import LEAST

REFINED = 1 / 3  # of the evaluations: networks that the predictor proposes
LEAST_REFINED = 5
MOST_REFINED = 40  # more of them no longer raise what is found; a larger sample makes the predictor better
LISTED_SHARE = 1 / 4


@dataclass(frozen=True)
class Spending:
    """How many networks are evaluated, at most.

    `sample`: drawn from the whole space, for the predictor to learn from. `refined`: proposed by the predictor in the search.
    `repeated`: the same in each of `repeats` searches that may follow within a lower limit. `listed`: the best ones, once more
    on the validation images.
    """

    sample: int
    refined: int
    repeated: int
    repeats: int
    listed: int

    @classmethod
    def of(cls, evaluations: int, listed: int, repeats: int = 0) -> Spending:
        """Divide a number of evaluations, of which none is exceeded.

        Args:
            evaluations: all of them.
            listed: how many of the best networks are evaluated again, on the validation images.
            repeats: how many further searches may follow, where what was found measures above a limit.

        Raises:
            NetwrightError: more than a quarter of them would go to what is listed.
        """
        if listed > evaluations * LISTED_SHARE:
            raise NetwrightError(
                f"listed is {listed}, evaluations is {evaluations}: at most a quarter of the evaluations can go to the networks "
                f"that are listed. Set evaluations to at least {round(listed / LISTED_SHARE)}, or list fewer."
            )
        rest = evaluations - listed
        proposed = min(MOST_REFINED, max(LEAST_REFINED, int(rest * REFINED)), rest - LEAST)
        repeated = proposed // (2 * repeats + 1) if repeats else 0
        refined = proposed - repeats * repeated
        return cls(rest - proposed, refined, repeated, repeats, listed)

    @property
    def total(self) -> int:
        """The most that is evaluated."""
        return self.sample + self.refined + self.repeats * self.repeated + self.listed

    def text(self) -> str:
        """Return in words what is spent on what."""
        later = f", {self.repeats * self.repeated} in searches repeated within a lower limit" if self.repeats else ""
        return (
            f"at most {self.total} evaluations: {self.sample} networks to learn from, {self.refined} found with what was "
            f"learned{later}, {self.listed} of the best once more on the validation images"
        )
