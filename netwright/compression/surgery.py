"""Surgery: what is done to a network to make it smaller or cheaper, before it trains on or without training.

A surgery meets `training.change.Surgery`: `change(module, example) -> module`. How much it does, and other settings that JSON can
hold, are its own arguments, so that a recipe names it: {"surgery": NAME, "amount": 0.5}. What it needs of the data it asks of
the example. The module that it returns may say more:

- `changed`: what was done, a dict that JSON can hold.
- `finish()`: the network in its final form, once it is trained: a `QuantizedGraph`, or a module without scaffolding.
- `preserves`: True where its outputs equal those of the module before, to 1e-5 of their largest value, until it trains.

A surgery may be written outside: pass it, or name it FILE.py:NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.tables import Table, name_of
from netwright.training.change import Change, Example, Surgery, resolve
from netwright.training.objectives import OBJECTIVES

SURGERIES: Table[Callable[..., Surgery]] = Table(
    "Surgery",
    {"fake-quantization": "netwright.compression.quantization.fake_quantization:FakeQuantization"},
)


@dataclass(frozen=True)
class Operated:
    """A network after surgery.

    Attributes:
        module: the network.
        changed: what was done to it, as JSON can hold it.
        preserves: its outputs are those of the network before.
    """

    module: nn.Module
    changed: Mapping[str, Any] = field(default_factory=dict)
    preserves: bool = False


def operate(surgery: str | Surgery, module: nn.Module, batches: Sequence[Tensor], **arguments: Any) -> Operated:
    """Do surgery on a network, outside of training; the module is left as it was if the surgery keeps to its contract.

    Args:
        surgery: a name in SURGERIES or FILE.py:NAME, made with `arguments`; or one that is made already.
        batches: images as the module sees them, normalized.

    Raises:
        NetwrightError: no such surgery, wrong arguments, no images, or the module does not suit the surgery.
    """
    if not batches:
        raise NetwrightError(f"Surgery {name_of(surgery)!r} got no images. Pass batches as the module sees them.")
    if isinstance(surgery, str):
        (made,) = resolve([{"surgery": surgery, **arguments}], {"surgery": SURGERIES})
    elif arguments:
        raise NetwrightError(f"Surgery {name_of(surgery)!r} is made already; {', '.join(arguments)} come too late.")
    else:
        made = surgery
    if not isinstance(made, Surgery):
        raise NetwrightError(f"{name_of(surgery)!r} is no surgery: it has no method change(module, example).")
    changed = made.change(module, example_of(batches))
    return Operated(changed, getattr(changed, "changed", {}), bool(getattr(changed, "preserves", False)))


def example_of(batches: Sequence[Tensor]) -> Example:
    """Return what a surgery is given, of batches that are there already; fewer images are cut from them."""

    def calibration(images: int) -> list[Tensor]:
        found: list[Tensor] = []
        for x_BCHW in batches:
            left = images - sum(map(len, found))
            if left > 0:
                found.append(x_BCHW[:left])
        return found

    return Example((batches[0],), calibration)


def changes_of(named: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Return the surgeries and objectives that a recipe names, in order.

    Raises:
        NetwrightError: no such change, or an argument that it does not take.
    """
    return resolve(named, {"surgery": SURGERIES, "objective": OBJECTIVES})
