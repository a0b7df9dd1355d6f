"""The changes of a recipe, by name: surgery (`compression`), terms of the loss (`training`), plans of memory (`adaptation`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.training.change import Change
    from netwright.training.recipe import Recipe


def changes_of(recipe: Recipe) -> list[Change]:
    """Return what a recipe does to a network, made with the arguments that it names, in order.

    Raises:
        NetwrightError: no such change, or an argument that it does not take.
    """
    if not recipe.changes:
        return []
    from netwright.adaptation.plan import PLANS
    from netwright.compression.surgery import SURGERIES
    from netwright.training.change import resolve
    from netwright.training.objectives import OBJECTIVES

    return resolve(recipe.changes, {"surgery": SURGERIES, "objective": OBJECTIVES, "plan": PLANS})


def changes_of_supernet(recipe: Recipe) -> list[Change]:
    """Return the changes of a recipe that trains a supernet: terms of the loss.

    Raises:
        NetwrightError: as `changes_of`, or a change of one network.
    """
    found = changes_of(recipe)
    if found:
        from netwright.training.job import check_changes

        check_changes(found, of_supernet=True)
    return found
