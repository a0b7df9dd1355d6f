"""Plots as inline SVG: drawn with matplotlib, recoloured to follow the page in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netwright.report.html import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stand for variables of the page's style and are replaced by them after drawing.
INK, SOFT, GRID = "#010203", "#010204", "#010205"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215")
_VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--grid"} | {
    colour: f"--s{index}" for index, colour in enumerate(SERIES, 1)
}
MARKERS = ("o", "s", "^", "D", "v")
Points = Sequence[tuple[float, float]]


@contextmanager
def drawing(name: str, x_label: str, y_label: str, out: list[Markup], *, height: float = 4.0) -> Iterator[Axes]:
    """Give axes to draw into; on leaving, the finished picture is appended to `out`. `name` must be unique in a page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 11,
        "font.family": "DejaVu Sans",
        "text.color": INK,
        "axes.edgecolor": SOFT,
        "axes.labelcolor": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "grid.color": GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        yield axes
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    out.append(Markup(_inline(text.getvalue(), name, f"{y_label} against {x_label}")))


def curves(name: str, x_label: str, y_label: str, series: Mapping[str, Points], *, smooth: bool = False) -> Markup:
    """Return lines over a shared x axis; `smooth` draws a running mean over the faint raw line."""
    out: list[Markup] = []
    with drawing(name, x_label, y_label, out) as axes:
        for index, (label, points) in enumerate(series.items()):
            colour = SERIES[index % len(SERIES)]
            xs, ys = [x for x, _ in points], [y for _, y in points]
            marker = MARKERS[index % len(MARKERS)] if len(points) <= 40 else ""
            if smooth and len(points) > 40:
                axes.plot(xs, ys, color=colour, alpha=0.25, linewidth=0.8)
                ys = running_mean(ys, max(3, len(ys) // 40))
            axes.plot(xs, ys, color=colour, linewidth=1.8, marker=marker, markersize=4, label=label)
        if len(series) > 1:
            axes.legend()
    return out[0]


def agreement(name: str, what: str, unit: str, pairs: Points, *, band: float | None = None) -> Markup:
    """Return predicted (x) against measured (y) values with the diagonal; `band` shades that relative error."""
    out: list[Markup] = []
    with drawing(name, f"predicted {what} ({unit})", f"measured {what} ({unit})", out) as axes:
        low = min(min(pair) for pair in pairs)
        high = max(max(pair) for pair in pairs)
        margin = 0.05 * (high - low or abs(high) or 1)
        ends = (low - margin, high + margin)
        if band:
            near = [x * (1 - band) for x in ends], [x * (1 + band) for x in ends]
            axes.fill_between(ends, *near, color=SERIES[0], alpha=0.12, linewidth=0, label=f"within {band:.0%}")
        axes.plot(ends, ends, color=SOFT, linewidth=1, linestyle="--", label="equal")
        axes.scatter(*zip(*pairs, strict=True), s=22, color=SERIES[0], alpha=0.75, linewidths=0, label="one network")
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.legend(loc="upper left")
    return out[0]


def pareto(
    name: str, x_label: str, y_label: str, evaluated: Points, front: Points, chosen: Mapping[str, tuple[float, float]]
) -> Markup:
    """Return how well networks do against cost: what was evaluated, the front, the network chosen for each budget."""
    out: list[Markup] = []
    with drawing(name, x_label, y_label, out) as axes:
        if evaluated:
            axes.scatter(*zip(*evaluated, strict=True), s=16, color=SOFT, alpha=0.55, linewidths=0, label="evaluated")
        if front:
            xs, ys = zip(*sorted(front), strict=True)
            axes.plot(xs, ys, color=SERIES[0], marker="o", markersize=4, linewidth=1.5, label="front")
        for index, (label, (x, y)) in enumerate(chosen.items()):
            colour, marker = SERIES[1 + index % 4], MARKERS[1 + index % 4]
            axes.scatter([x], [y], s=90, color=colour, marker=marker, label=label, zorder=5)
        axes.legend(loc="lower right", fontsize=9.5)
    return out[0]


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of the last `window` values at every point."""
    return [sum(part) / len(part) for part in (values[max(0, i - window + 1) : i + 1] for i in range(len(values)))]


def _inline(svg: str, name: str, label: str) -> str:
    """Take the XML header off, make ids unique to this picture, and replace the stand-in colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', rf'\1 role="img" aria-label="{label}"', svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
