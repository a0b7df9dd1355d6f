"""TinyNAS and the search for microcontrollers without training: which space for which device, and 50,000 candidates.

    python benchmarks/mcu_search.py            # a few minutes of one core
    python benchmarks/mcu_search.py --quick    # a quarter of the spaces, a tenth of the candidates

The space `mcunet` at 48 to 224 pixels and widths 0.2 to 1.0 (108 of each pair, MCUNet's), within SRAM and flash of STM32F746
and STM32F412: once with every block layer by layer, once with the schedule chosen with the architecture. Then an evolution of
50,000 networks within the limits (its score is MACs, since nothing is trained), whose memory is the planner's for each block; a
sample of them is planned as a whole and must fit. Then a short one in which networks whose blocks do not fit are planned whole. Writes results/mcu_search.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.device.machines import machine  # noqa: E402
from netwright.mcu.price.chain import chain_memory  # noqa: E402
from netwright.models.families import family  # noqa: E402
from netwright.models.family import Family  # noqa: E402
from netwright.models.space import Genes  # noqa: E402
from netwright.searching.candidates import Result  # noqa: E402
from netwright.searching.limits.budget import Budget, Limit  # noqa: E402
from netwright.searching.limits.mcu_prices import McuPrices, mcu_prices  # noqa: E402
from netwright.searching.strategies import evolution  # noqa: E402
from netwright.searching.tables import AdditiveTable, MaxTable, macs_price  # noqa: E402
from netwright.specialization.tinynas import QUANTILES, choose_space  # noqa: E402

DEVICES = ("stm32f746", "stm32f412")
WIDTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHOWN = 3
PLANNED = 30
WHOLE = 250  # so many times fewer candidates are planned as a whole


def budget_of(device: str) -> Budget:
    """Return all the SRAM and flash of a device."""
    found = machine(device)
    assert found.sram_bytes is not None and found.flash_bytes is not None
    return Budget(sram_bytes=found.sram_bytes.value, flash_bytes=found.flash_bytes.value)


def choose(made: Family, device: str, stream: bool, samples: int) -> tuple[dict[str, Any], McuPrices, list[Limit]]:
    """Return what TinyNAS found, with the seconds it took, and the tables it used."""
    started = time.process_time()
    prices = mcu_prices(device, stream=stream)
    limits = budget_of(device).limits(made, prices)
    tabulated = time.process_time()
    found = choose_space(made, limits, samples=samples)
    return (
        {
            "device": device,
            "schedules": "layers or rows" if stream else "layers",
            "spaces_that_fit": len(found),
            "best": [space.to_json() for space in found[:SHOWN]],
            "table_s": round(tabulated - started, 1),
            "choose_s": round(time.process_time() - tabulated, 1),
        },
        prices,
        limits,
    )


def evolve(made: Family, prices: McuPrices, limits: list[Limit], candidates: int) -> dict[str, Any]:
    """Search so many networks whose blocks fit, hold a sample against whole plans; then fewer, planned whole where need be."""
    macs = AdditiveTable(made, macs_price, layout=limits[0].table.layout)
    sram = next(limit for limit in limits if limit.name == "sram")
    others = [limit for limit in limits if limit is not sram]
    blocks = Limit("sram", MaxTable(made, prices.memory_bytes, layout=sram.table.layout), sram.bound)
    found, seconds = timed(made, macs, [*others, blocks], candidates)
    together, whole_seconds = timed(made, macs, [*others, sram], candidates // WHOLE)
    rng = np.random.default_rng(0)
    sample = found.genes[rng.choice(len(found.genes), min(PLANNED, len(found.genes)), replace=False)]
    exact = [whole(made, row) for row in sample]
    best = made.space.decode(found.genes[0])
    cost = prices.network(made.blocks(best), (3, best.resolution, best.resolution))
    return {
        "candidates": found.evaluated,
        "seconds": round(seconds, 2),
        "planned": len(sample),
        "planned_that_fit": int((np.array(exact) <= sram.bound).sum()),
        "whole_candidates": together.evaluated,
        "whole_seconds": round(whole_seconds, 1),
        "whole_most_macs": together.scores[0],
        "best": {"arch": best.to_json(), "macs": made.macs(best), **cost.to_json()},
    }


def timed(made: Family, macs: AdditiveTable, limits: list[Limit], candidates: int) -> tuple[Result, float]:
    """Return an evolution towards most MACs within limits, and its seconds."""
    started = time.process_time()
    found = evolution.search(
        made.space, macs, limits, population=max(4, candidates // 50), generations=50 if candidates >= 1000 else 10
    )
    return found, time.process_time() - started


def whole(made: Family, genes: Genes) -> int:
    """Return the least arena of one network, its blocks planned together."""
    arch = made.space.decode(genes)
    return chain_memory(made.blocks(arch), (3, arch.resolution, arch.resolution))


def page(result: dict[str, Any]) -> str:
    """Return the results as a page."""
    quantiles = ", ".join(f"{round(100 * share)} %" for share in QUANTILES)
    lines = [
        f"# Spaces and searches for two microcontrollers ({result['date']})",
        "",
        f"`benchmarks/mcu_search.py`: space `mcunet`, {result['spaces']} pairs of resolution and width, all SRAM and flash of each device;",
        f"{result['environment']['processor']}, one thread. MACs in millions, over networks that fit.",
        "",
        f"| device | schedules | pairs that fit | best: resolution, width | networks that fit | mean MACs | at {quantiles} | seconds (tables, choice) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        for number, one in enumerate(row["best"]):
            head = (row["device"], row["schedules"], str(row["spaces_that_fit"])) if number == 0 else ("", "", "")
            spent = f"{row['table_s']}, {row['choose_s']}" if number == 0 else ""
            at = ", ".join(f"{macs / 1e6:.0f}" for macs in one["quantile_macs"])
            lines.append(
                f"| {' | '.join(head)} | {one['resolution']}, {one['width']} | {100 * one['fitting']:.0f} % | "
                f"{one['mean_macs'] / 1e6:.1f} | {at} | {spent} |"
            )
    lines += ["", "Evolution within the limits; memory from the planner, block by block, then of whole networks:", ""]
    lines += [
        "| device | candidates | seconds | planned whole: fit | most MACs found | planned whole in the search | seconds | most MACs |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in result["rows"]:
        if one := row.get("evolution"):
            best = one["best"]
            lines.append(
                f"| {row['device']} | {one['candidates']:,} | {one['seconds']} | {one['planned_that_fit']} of {one['planned']} | "
                f"{best['macs'] / 1e6:.1f} M: arena {best['arena_bytes']:,}, flash {best['flash_bytes']:,} | "
                f"{one['whole_candidates']:,} | {one['whole_seconds']} | {one['whole_most_macs'] / 1e6:.1f} M |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    asked = parser.parse_args()
    widths = WIDTHS[1::2] if asked.quick else WIDTHS
    made = family("mcunet", size=224, least=48 + 96 * asked.quick, widths=widths)
    rows = []
    for device in DEVICES:
        for stream in (False, True):
            row, prices, limits = choose(made, device, stream, 200 if asked.quick else 1000)
            if stream:
                row["evolution"] = evolve(made, prices, limits, 5000 if asked.quick else 50_000)
            rows.append(row)
    spaces = len(made.space.resolutions) * len(widths)
    result = {"date": datetime.date.today().isoformat(), "environment": environment(), "spaces": spaces, "rows": rows}
    save(asked.out, "mcu_search", result, page(result))


if __name__ == "__main__":
    main()
