"""Carbon and money of training and of searching, for one network or for N deployment targets.

Energy and carbon after Strubell et al. 2019 (arXiv 1906.02243, Section 2): power times hours times the power usage
effectiveness of the data centre, times what a kilowatt-hour emits. Table 1 of once-for-all (Cai et al. 2020, arXiv
1908.09791) is the same arithmetic on GPU hours; `once_for_all_table` does it again and says where the print differs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.device.machine import Machine, Sourced

POUND_KG = 0.45359237


@dataclass(frozen=True)
class Rates:
    """What an hour of one accelerator draws, emits and costs.

    `watts`: of one accelerator with its share of the host. `pue`: watts of the data centre for one of the computer.
    `kg_per_kwh`: kilograms of CO2 equivalent. `dollars_per_hour`: of one accelerator.
    """

    watts: Sourced
    pue: Sourced
    kg_per_kwh: Sourced
    dollars_per_hour: Sourced


V100_2019 = Rates(
    watts=Sourced(
        12_041.51 / 64,
        "paper",
        "Strubell et al. 2019, Table 3: BERT base draws 12,041.51 W on 64 V100. Cai et al. do not name their power; "
        "this one gives their figures",
    ),
    pue=Sourced(1.58, "paper", "Strubell et al. 2019, Section 2: the worldwide average in 2018"),
    kg_per_kwh=Sourced(
        0.954 * POUND_KG, "paper", "Strubell et al. 2019, Section 2: 0.954 pounds, the average of the USA (EPA 2018)"
    ),
    dollars_per_hour=Sourced(
        24.48 / 8, "datasheet", "AWS price list, p3.16xlarge on demand, $24.48 an hour for 8 V100 (US East, 2019)"
    ),
)


@dataclass(frozen=True)
class Footprint:
    """What accelerator hours cost: energy at the data centre's meter, CO2 equivalent, money."""

    gpu_hours: float
    kwh: float
    co2e_kg: float
    dollars: float

    @property
    def co2e_lbs(self) -> float:
        """The same emission in pounds, as the papers print it."""
        return self.co2e_kg / POUND_KG

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "co2e_lbs": self.co2e_lbs}


def footprint(gpu_hours: float, rates: Rates = V100_2019) -> Footprint:
    """Return what hours of one accelerator cost.

    Raises:
        NetwrightError: negative hours.
    """
    if not gpu_hours >= 0:
        raise NetwrightError(f"GPU hours must be zero or more, not {gpu_hours!r}.")
    kwh = gpu_hours * rates.watts.value / 1000 * rates.pue.value
    return Footprint(gpu_hours, kwh, kwh * rates.kg_per_kwh.value, gpu_hours * rates.dollars_per_hour.value)


def rates_of(
    machine: Machine, *, kg_per_kwh: Sourced, dollars_per_hour: Sourced, pue: Sourced = V100_2019.pue
) -> Rates:
    """Return the rates of a machine that draws its design power all the time, in a place and at a price that you name.

    Raises:
        NetwrightError: no source gives the machine's power.
    """
    if machine.power_w is None:
        raise NetwrightError(f"No source gives the power of {machine.name}. Make Rates with the watts you measured.")
    return Rates(machine.power_w, pue, kg_per_kwh, dollars_per_hour)


def hours_of(macs: float, machine: Machine, dtype: str = "float32", *, utilisation: float) -> float:
    """Return the hours that multiply-accumulates of a training or a search take at a share of a machine's peak rate.

    Of a training: three times the forward pass of every sample of every epoch (`linear_model.training_macs`).

    Raises:
        NetwrightError: the share is not above 0 and at most 1, or no peak rate of the machine is known.
    """
    rate = machine.peak(dtype)
    if not 0 < utilisation <= 1:
        raise NetwrightError(f"Utilisation is a share of the peak rate, above 0 and at most 1, not {utilisation!r}.")
    if rate is None:
        raise NetwrightError(f"No source gives a peak rate of {machine.name}.")
    return macs / (rate.value * utilisation) / 3600


@dataclass(frozen=True)
class Method:
    """A way to get networks for N targets: accelerator hours once, and hours for every target; search and training."""

    name: str
    search_once: float = 0.0
    search_each: float = 0.0
    train_once: float = 0.0
    train_each: float = 0.0

    def gpu_hours(self, targets: int) -> float:
        """Return the hours for a number of targets."""
        return self.search_once + self.train_once + targets * (self.search_each + self.train_each)


def break_even_targets(one: Method, other: Method) -> int | None:
    """Return the least number of targets (at least 1) for which `one` takes fewer hours than `other`.

    None where it does for no number or, costing less once but more for each target, only up to some number.
    """
    more_once = one.gpu_hours(0) - other.gpu_hours(0)
    less_each = more_once - (one.gpu_hours(1) - other.gpu_hours(1))
    if less_each > 0:
        return max(1, math.floor(more_once / less_each) + 1)
    return 1 if less_each == 0 and more_once < 0 else None


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("MobileNetV2", train_each=150),
            Method("MobileNetV2 #1200", train_each=1200),
            Method("NASNet-A", search_each=48_000),
            Method("DARTS", search_each=96, train_each=250),
            Method("MnasNet", search_each=40_000),
            Method("FBNet-C", search_each=216, train_each=360),
            Method("ProxylessNAS", search_each=200, train_each=300),
            Method("SinglePathNAS", search_once=288, search_each=24, train_each=384),
            Method("AutoSlim", search_once=180, train_each=300),
            Method("MobileNetV3-Large", train_each=180),
            Method("OFA w/o PS", search_once=40, train_once=1200),
            Method("OFA w/ PS", search_once=40, train_once=1200),
            Method("OFA w/ PS #25", search_once=40, train_once=1200, train_each=25),
            Method("OFA w/ PS #75", search_once=40, train_once=1200, train_each=75),
            Method("OFA-Large w/ PS #75", search_once=40, train_once=1200, train_each=75),
        )
    }
)

# GPU hours, pounds of CO2e and dollars as Table 1 prints them for N = 40, in thousands.
PRINTED: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "MobileNetV2": ("6", "1.7", "18.4"),
        "MobileNetV2 #1200": ("48", "13.6", "146.9"),
        "NASNet-A": ("1920", "544.5", "5875.2"),
        "DARTS": ("14", "4.0", "42.8"),
        "MnasNet": ("1600", "453.8", "4896.0"),
        "FBNet-C": ("23", "6.5", "70.4"),
        "ProxylessNAS": ("20", "5.7", "61.2"),
        "SinglePathNAS": ("17", "4.8", "52.0"),
        "AutoSlim": ("12", "3.4", "36.7"),
        "MobileNetV3-Large": ("7.2", "1.8", "22.2"),
        "OFA w/o PS": ("1.2", "0.34", "3.7"),
        "OFA w/ PS": ("1.2", "0.34", "3.7"),
        "OFA w/ PS #25": ("2.2", "0.62", "6.7"),
        "OFA w/ PS #75": ("4.2", "1.2", "13.0"),
        "OFA-Large w/ PS #75": ("4.2", "1.2", "13.0"),
    }
)
PRINTED_TARGETS = 40


@dataclass(frozen=True)
class Row:
    """A row of the table, computed from the hours and from the hours as the paper rounded them, against its print.

    `matches`: which of hours, pounds and dollars come out as printed, to the last digit, in one of the two ways;
    the paper does not say which it used, and its rows need both.
    """

    name: str
    exact: Footprint
    rounded: Footprint
    printed: tuple[str, str, str]
    matches: tuple[bool, bool, bool]


def once_for_all_table(rates: Rates = V100_2019) -> tuple[Row, ...]:
    """Return Table 1 of the once-for-all paper, its 40 targets, computed from the hours of each method."""
    rows = []
    for name, printed in PRINTED.items():
        exact = footprint(METHODS[name].gpu_hours(PRINTED_TARGETS), rates)
        rounded = footprint(1000 * float(printed[0]), rates)
        rows.append(
            Row(
                name,
                exact,
                rounded,
                printed,
                (
                    _prints_as(printed[0], exact.gpu_hours),
                    _prints_as(printed[1], exact.co2e_lbs, rounded.co2e_lbs),
                    _prints_as(printed[2], exact.dollars, rounded.dollars),
                ),
            )
        )
    return tuple(rows)


def _prints_as(printed: str, *values: float) -> bool:
    digits = len(printed.partition(".")[2])
    return any(f"{value / 1000:.{digits}f}" == printed for value in values)
