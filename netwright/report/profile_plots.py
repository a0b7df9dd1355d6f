"""The pictures of a profile: memory over time, layers on the roofline, layers as bars, measured against possible."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.cost.layers import LayerCost
from netwright.cost.memory.inference import InferenceMemory
from netwright.device.machine import Machine
from netwright.report.html import Markup
from netwright.report.plots import SERIES, SOFT, drawing

MOST_BARS = 24
COMPUTE, MEMORY = SERIES[0], SERIES[1]


def timeline(name: str, memory: InferenceMemory) -> Markup:
    """Return the bytes alive during each operation, the peak marked."""
    out: list[Markup] = []
    with drawing(name, "operation", "activations alive (MB)", out) as axes:
        alive_mb = [value / 1e6 for value in memory.timeline]
        places = range(len(alive_mb))
        axes.fill_between(places, alive_mb, step="mid", color=SERIES[0], alpha=0.25, linewidth=0)
        axes.step(places, alive_mb, where="mid", color=SERIES[0], linewidth=1.2)
        if memory.lower_bound_bytes is not None:
            label = f"no order needs less than {memory.lower_bound_bytes / 1e6:.3g} MB"
            axes.axhline(memory.lower_bound_bytes / 1e6, color=SOFT, linestyle="--", linewidth=1, label=label)
        top = max(range(len(alive_mb)), key=lambda place: alive_mb[place], default=0)
        if alive_mb:
            label = f"peak {alive_mb[top]:.3g} MB"
            axes.scatter([top], [alive_mb[top]], s=50, color=SERIES[1], zorder=5, label=label)
        axes.set_ylim(0, 1.25 * max(alive_mb, default=1.0))
        axes.legend(loc="upper right")
    return out[0]


def bars(name: str, layers: Sequence[LayerCost]) -> Markup:
    """Return the layers with the largest shares: of multiply-accumulates, of bytes moved, of the measured time."""
    totals = [max(1, sum(layer.macs for layer in layers)), max(1, sum(layer.bytes_moved for layer in layers))]
    shares = [
        ("MACs", [layer.macs / totals[0] for layer in layers]),
        ("bytes moved", [layer.bytes_moved / totals[1] for layer in layers]),
    ]
    measured = [layer.measured_ms or 0.0 for layer in layers]
    if any(measured):
        shares.append(("measured time", [ms / sum(measured) for ms in measured]))
    largest = sorted(range(len(layers)), key=lambda place: -max(share[place] for _, share in shares))[:MOST_BARS]
    places = sorted(largest)
    out: list[Markup] = []
    with drawing(name, "share (%)", "", out, height=1.2 + 0.34 * len(places)) as axes:
        height = 0.8 / len(shares)
        for number, (label, share) in enumerate(shares):
            at = [row + height * (number - (len(shares) - 1) / 2) for row in range(len(places))]
            axes.barh(at, [100 * share[place] for place in places], height, color=SERIES[number], label=label)
        names = [f"{layers[place].path or '(root)'}" for place in places]
        axes.set_yticks(range(len(places)), names, fontsize=8.5)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return out[0]


def on_roofline(name: str, layers: Sequence[LayerCost], machine: Machine, dtype: str) -> Markup:
    """Return the layers at their arithmetic intensity under the machine's roof, at the measured rate where there is one."""
    rate, moving = machine.peak(dtype), machine.bandwidth_bytes_per_s
    if rate is None or moving is None:
        return Markup("")
    peak, bandwidth = rate.value, moving.value
    shown = [layer for layer in layers if layer.macs and layer.bytes_moved]
    total = sum(layer.macs for layer in shown) or 1
    out: list[Markup] = []
    with drawing(name, "arithmetic intensity (MACs a byte)", "giga-MACs a second", out) as axes:
        intensities = [layer.macs / layer.bytes_moved for layer in shown]
        low, high = min([*intensities, peak / bandwidth]) / 2, max([*intensities, peak / bandwidth]) * 2
        axes.plot(*_roof(low, high, peak, bandwidth), color=SOFT, label=f"roof, {dtype}")
        for cache in machine.caches:
            roof = _roof(low, high, peak, cache.bytes_per_s.value)
            axes.plot(*roof, color=SOFT, linewidth=0.8, linestyle=":", label=f"below {cache.bytes / 1e6:.3g} MB")
        for colour, label, kind in ((COMPUTE, "compute-bound", "compute"), (MEMORY, "memory-bound", "memory")):
            group = [(x, layer) for x, layer in zip(intensities, shown, strict=True) if layer.bound == kind]
            rates = [layer.macs / (layer.measured_ms or layer.bound_ms or 1.0) / 1e6 for _, layer in group]
            sizes = [12 + 900 * layer.macs / total for _, layer in group]
            axes.scatter([x for x, _ in group], rates, s=sizes, color=colour, alpha=0.55, linewidths=0, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(loc="lower right", markerscale=0.6, fontsize=8.5)
    return out[0]


def _roof(low: float, high: float, peak: float, bandwidth: float) -> tuple[list[float], list[float]]:
    corner = peak / bandwidth
    ends = sorted({low, min(max(corner, low), high), high})
    return ends, [min(peak, x * bandwidth) / 1e9 for x in ends]


def waterline(name: str, layers: Sequence[LayerCost], peak_macs_per_s: float) -> Markup:
    """Return each layer's utilization, its width the layer's share of all multiply-accumulates' ideal time.

    Filled: what was measured. Line: what the roofline allows. The gap between them is the efficiency gap
    (Lavin 2024, On the efficiency of convolutional neural networks, arXiv 2404.03617).
    """
    shown = [layer for layer in layers if layer.macs and layer.measured_ms and layer.bound_ms]
    edges, reached, possible = [0.0], [], []
    for layer in shown:
        ideal_ms = 1e3 * layer.macs / peak_macs_per_s
        edges.append(edges[-1] + (layer.measured_ms or 0.0))
        reached.append(100 * ideal_ms / (layer.measured_ms or 1.0))
        possible.append(100 * ideal_ms / (layer.bound_ms or 1.0))
    out: list[Markup] = []
    with drawing(name, "measured time, layer after layer (ms)", "utilization of the peak rate (%)", out) as axes:
        axes.stairs(reached, edges, fill=True, color=SERIES[0], alpha=0.45, label="measured")
        axes.stairs(possible, edges, color=SERIES[1], linewidth=1.4, label="the roofline allows")
        axes.set_ylim(0, 120)
        axes.set_yticks(range(0, 101, 20))
        axes.legend(loc="upper right", ncols=2)
    return out[0]
