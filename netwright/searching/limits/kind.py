"""What a limit is: its name, its unit, and the function that tabulates it. Loads no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

from netwright.core.errors import NetwrightError
from netwright.core.units import parse_quantity

if TYPE_CHECKING:
    from netwright.device.machine import Machine
    from netwright.models.family import Family, Price
    from netwright.searching.layout import Layout
    from netwright.searching.tables import AdditiveTable, MaxTable


class LatencyPrices(Protocol):
    """What a latency model must offer: block times that add up. Called as `block_ms(block, *shapes)`."""

    @property
    def offset_ms(self) -> float: ...

    @property
    def block_ms(self) -> Callable[..., float]: ...


@dataclass(frozen=True)
class DevicePrices:
    """What is known of a device. A limit takes the part that it needs, and refuses a device that lacks it.

    `device`: its name. `latency`: block times that were measured there; of a microcontroller its `McuPrices`, which also
    price SRAM, flash and instructions. `machine`: its data sheet, with energies.
    """

    device: str = "this"
    latency: LatencyPrices | None = None
    machine: Machine | None = None

    @classmethod
    def of(cls, given: DevicePrices | LatencyPrices | None) -> DevicePrices:
        """Return prices as they are, or a latency model as all that is known of a device."""
        return given if isinstance(given, DevicePrices) else cls(latency=given)


@dataclass(frozen=True)
class Asked:
    """What a limit is tabulated for: the networks of a family on a device.

    `bound`: the limit itself, infinite where the cost is only an objective. `settings`: what was given after `@`.
    `layout`: of the family, shared by all tables.
    """

    family: Family
    prices: DevicePrices
    bound: float
    layout: Layout
    settings: str = ""

    def additive(self, price: Price, offset: float = 0.0) -> AdditiveTable:
        """Return the table of a cost that adds up: offset + sum of `price(block, *shapes)` over a network's blocks."""
        from netwright.searching.tables import AdditiveTable

        return AdditiveTable(self.family, price, offset, layout=self.layout)

    def greatest(self, price: Price) -> MaxTable:
        """Return the table of a peak: the greatest `price(block, *shapes)` of a network's blocks."""
        from netwright.searching.tables import MaxTable

        return MaxTable(self.family, price, layout=self.layout)


@dataclass(frozen=True, eq=False)
class LimitKind:
    """A cost that can be limited.

    Attributes:
        name: as the command line takes it: `--limit name=VALUE`.
        key: as `Budget` and JSON take it, with its unit: "latency_ms".
        unit: of the values, as texts write it.
        units: what may be typed after a number, with the factor to `unit`; `core.units` has the usual ones.
        table: returns the table of a family's costs.
        devices: which devices can price it, in words.
        short: divisor and words of a short text: (1024.0, "KB SRAM").
        typed: the unit that is written back after a number, so that `--limit` reads it again.
        rank: limits are looked up in this order, those that take long to tell last; the first one also decides between
            equal scores.
        check: refuses settings (what stands after `@`) that it cannot take, returns them in their one spelling. None: it
            takes no settings.
        settings: of a limit for which they were given.
        needs: refuses a device that cannot price it, before anything is tabulated. None: every device can, or `table` says.
    """

    name: str
    key: str
    unit: str
    units: Mapping[str, float]
    table: Callable[[Asked], AdditiveTable | MaxTable]
    devices: str = "every device"
    short: tuple[float, str] = (1.0, "")
    typed: str = ""
    rank: int = 5
    check: Callable[[str], str] | None = None
    settings: str = ""
    needs: Callable[[DevicePrices], object] | None = None

    def with_settings(self, text: str) -> LimitKind:
        """Return this limit for a stated case: training memory for a mode and a batch.

        Raises:
            NetwrightError: it takes no settings, or not these.
        """
        if self.check is None:
            raise NetwrightError(f"Limit {self.name!r} takes no settings after '@': {text!r}. Write {self.name}=VALUE.")
        text = self.check(text)
        return dataclasses.replace(self, name=f"{self.name}@{text}", key=f"{self.key}@{text}", settings=text)

    def parse(self, text: str, flag: str) -> float:
        """Read a value with its unit; `flag` is named in the error.

        Raises:
            NetwrightError: not a number, not greater than zero, or a wrong unit.
        """
        return parse_quantity(text, dict(self.units), flag)

    def checked(self, bound: Any) -> float:
        """Return a bound as a number.

        Raises:
            NetwrightError: it is none, or not greater than zero.
        """
        fits = isinstance(bound, Real) and not isinstance(bound, bool) and math.isfinite(bound) and float(bound) > 0
        if not fits:
            unit = f" of {self.unit}" if self.unit else ""
            hint = (
                f" Write {self.key}=2 without quotes; units are for the command line." if isinstance(bound, str) else ""
            )
            raise NetwrightError(
                f"The limit on {self.key} must be a number{unit} greater than zero, not {bound!r}.{hint}"
            )
        return float(bound)

    def text(self, value: float) -> str:
        """Write a value with its unit."""
        if self.unit == "bytes":
            return f"{value:,.0f} {self.unit}"
        small = self.unit in ("ms", "mJ") or value < 1e4
        return f"{value:.4g} {self.unit}".rstrip() if small else f"{value / 1e6:.4g} M {self.unit}".rstrip()

    def short_text(self, value: float) -> str:
        """Write a value in few words: 128 KB SRAM."""
        divisor, words = self.short
        more = f" {self.settings}" if self.settings else ""
        return f"{value / divisor:.4g} {words or self.unit or self.name}{more}"
