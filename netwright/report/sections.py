"""The parts of the report. Each takes the facts of a run and returns HTML, or a note of what is missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.metric import Metric
from netwright.core.tables import is_own
from netwright.models.arch import Arch
from netwright.models.family import Family
from netwright.report import plots
from netwright.report.drawing import Scale, draw, legend
from netwright.report.facts import Facts
from netwright.report.html import Markup, figure, join, missing, table, tag
from netwright.searching.limits.table import budget_options, budget_text, exceeded, exceeded_text
from netwright.training.recipe import RECIPES

MOST_DRAWN = 6
MOST_ROWS = 40


def summary(facts: Facts) -> Markup:
    """Name the run and show its most important numbers."""
    data = facts.config.get("data", {})
    metric = facts.metric
    best = [figure for found in facts.searches.values() if (figure := value(found["candidates"][0], metric.key))]
    best.sort(key=metric.score)
    values = {name: points[-1][1] for name, points in facts.values().items()}
    tiles = [
        (facts.config.get("space", "unknown"), "search space"),
        (f"{len(data.get('classes', []))}", f"classes, images of {data.get('size', '?')} px"),
        (
            metric.text(values["largest"]) if "largest" in values else "not yet",
            f"{short(metric)} of the largest network",
        ),
        (metric.text(best[-1]) if best else "not yet", "best network found"),
        (f"{len(facts.searches)}", "budgets searched"),
        (f"{len(facts.deployed)}", "networks deployed"),
    ]
    text = f"A supernet trained on {data.get('source', 'unknown data')}, and the networks found in it."
    shown = [tag("div", tag("b", number), tag("span", label), class_="tile") for number, label in tiles]
    notes = [tag("p", reason, class_="missing") for reason in facts.damaged]
    return join([tag("h1", facts.name), tag("p", text, class_="soft"), tag("div", *shown, class_="tiles"), *notes])


def networks(facts: Facts, family: Family) -> Markup:
    """The best network of every budget: its figures, and its drawing."""
    if not facts.searches:
        return missing("No search was made yet.", f"netwright search {facts.run} --device this --latency 2ms")
    best = {name: found["candidates"][0] for name, found in facts.searches.items()}
    metric = facts.metric
    rows = [
        (limits_of(facts.searches[name]), *figures(one, metric, facts.searches[name])) for name, one in best.items()
    ]
    parts: list[object] = [table(("budget", metric.name, "latency", "MACs", "parameters"), rows)]
    parts += [tag("p", text, class_="warning") for text in doubts(facts)]
    shown = dict(list(best.items())[-MOST_DRAWN:])
    archs: dict[str, Arch] = {}
    for name, one in shown.items():
        try:
            arch = Arch.from_json(one.get("arch"))
            family.space.encode(arch)
            archs[name] = arch
        except NetwrightError as error:
            parts.append(missing(f"{name} cannot be drawn:", str(error)))
    priced = {name: family.priced_blocks(arch) for name, arch in archs.items()}
    if priced:
        scale = Scale.of(priced.values())
        parts.append(
            legend(int(getattr(placed.block, "kernel", 0) or 0) for blocks in priced.values() for placed in blocks)
        )
    for name, blocks in priced.items():
        text = f"{limits_of(facts.searches[name])}: {', '.join(figures(shown[name], metric, facts.searches[name])[:2])}"
        parts.append(tag("h3", text))
        parts.append(tag("div", draw(blocks, text, scale), class_="drawing"))
    if len(best) > len(shown):
        parts.append(tag("p", f"Drawn: the {len(shown)} latest of {len(best)} searches.", class_="soft"))
    return join(parts)


def trade_off(facts: Facts) -> Markup:
    """How well networks do against latency, or against MACs where latency is unknown."""
    metric = facts.metric
    if not facts.searches:
        return missing(f"The plot of {noun(metric)} against cost needs a search.", "See the commands at the end.")
    latest = list(facts.searches.values())[-1]
    by_latency = all(value(found["candidates"][0], "latency_ms") is not None for found in facts.searches.values())
    bounded = any((one.get("latency_ms") or {}).get("kind") == "bounded" for one in latest.get("front", []))
    latency = f"{'bound on' if bounded else 'predicted'} latency (ms)"
    key, unit, label = (0, 1.0, latency) if by_latency else (1, 1e6, "multiply-accumulates (M)")
    points = [point for found in facts.searches.values() for point in found.get("points", [])]
    evaluated = [(point[key] / unit, point[2]) for point in points if point[key] is not None]

    def place(one: Mapping[str, Any]) -> tuple[float, float] | None:
        cost = value(one, "latency_ms") if by_latency else value(one, "macs")
        score = value(one, metric.key)
        return None if cost is None or score is None else (cost / unit, score)

    front = [spot for one in latest.get("front", []) if (spot := place(one))]
    chosen = {
        f"best within {limits_of(found)}": spot
        for found in list(facts.searches.values())[-4:]
        if (spot := place(found["candidates"][0]))
    }
    caption = (
        f"Grey: {len(set(evaluated))} networks evaluated on images held out from training, with BatchNorm statistics of their "
        f"own. Line: the front of the latest search ({limits_of(latest)}), on the same images. Marks: the best network of "
        "each budget, on the validation images, by which nothing was chosen; it may lie above or below."
    )
    return figure(plots.pareto("pareto", label, with_unit(metric), sorted(set(evaluated)), front, chosen), caption)


def latency(facts: Facts) -> Markup:
    """How well the latency model predicts networks it has not seen."""
    models = [found["latency_model"] for found in facts.searches.values() if found.get("latency_model")]
    if not models:
        how = "netwright device this --measure, then search again with --device this"
        return missing("No latency model was used in this run.", how)
    model, held = models[-1], models[-1].get("held_out", {})
    noise = model.get("noise_floor") or {}

    def both(name: str, unit: str = "") -> tuple[str, str]:
        return f"{number(held.get(name))}{unit}", f"{number(noise.get(name))}{unit}"

    calm, busy = model.get("calm"), model.get("busy")
    rows = [
        ("networks it had not seen", held.get("networks", "unknown"), noise.get("networks", "unknown")),
        ("mean absolute error", *both("mape", " %")),
        ("within 10 %", *both("within_10pct", " %")),
        ("Kendall tau", *both("kendall_tau")),
        *([("timings in calm moments", f"{calm:.0%}", "")] if isinstance(calm, int | float) else []),
    ]
    parts: list[object] = [table(("latency model", "prediction", "noise floor"), rows)]
    parts += [tag("p", f"Measured while {busy}.", class_="warning")] if busy else []
    pairs = [(pair[0], pair[1]) for pair in model.get("pairs", [])]
    if pairs:
        caption = (
            f"Held-out networks: latency predicted from their blocks against latency measured whole, on {model['device']}, "
            f"{model['runtime']}. Noise floor: one half of the measurements against the other."
        )
        parts.insert(0, figure(plots.agreement("latency", "latency", "ms", pairs, band=0.1), caption))
    return tag("div", *parts)


def predictor(facts: Facts) -> Markup:
    """How well the predictor of the metric ranks networks it has not seen."""
    found = [found["predictor"] for found in facts.searches.values() if found.get("predictor")]
    metric = facts.metric
    if not found:
        return missing(f"No {noun(metric)} predictor was trained yet.", f"netwright search {facts.run} trains one.")
    latest = found[-1]
    rows = [
        ("networks evaluated to train it", latest.get("networks", "unknown")),
        ("networks held out", latest.get("held_out", "unknown")),
        ("Kendall tau", number(latest.get("kendall_tau"))),
        ("Spearman correlation", number(latest.get("spearman"))),
        (
            "root mean square error",
            f"{number(latest.get('rmse'))} {'points' if metric.unit == '%' else metric.unit}".rstrip(),
        ),
    ]
    parts: list[object] = [table((f"{noun(metric)} predictor", "value"), rows)]
    parts += [tag("p", f"Warning: {latest['doubt']}.", class_="warning")] if latest.get("doubt") else []
    pairs = [(pair[0], pair[1]) for pair in latest.get("pairs", [])]
    if pairs:
        caption = (
            f"Held-out sub-networks: {noun(metric)} predicted from the architecture against {noun(metric)} measured."
        )
        parts.insert(0, figure(plots.agreement("predictor", metric.name, metric.unit, pairs), caption))
    return tag("div", *parts)


def training(facts: Facts) -> Markup:
    """Loss and metric over the epochs."""
    parts: list[object] = []
    losses, values, metric = facts.losses(), facts.values(), facts.metric
    if losses:
        caption = "Mean loss between two records; a jump marks a new stage, in which other sub-networks learn."
        parts.append(figure(plots.curves("loss", "epoch", "training loss", {"loss": losses}, smooth=True), caption))
    else:
        parts.append(missing("No training loss was recorded yet.", "The training has not begun."))
    if values:
        caption = "On the validation images, each network with BatchNorm statistics of its own."
        parts.append(figure(plots.curves(metric.key, "epoch", with_unit(metric), values), caption))
    else:
        parts.append(missing(f"No {noun(metric)} was recorded yet.", "The first evaluation is still to come."))
    if not facts.finished:
        parts.append(missing("The training has not finished.", "Repeat its train command: it goes on where it was."))
    return tag("div", *parts, class_="plots")


def candidates(facts: Facts) -> Markup:
    """All candidates and the front of every search, as tables."""
    parts: list[object] = []
    for found in facts.searches.values():
        head = ("#", facts.metric.name, "latency", "MACs", "parameters", "architecture")
        for label in ("candidates", "front"):
            listed = found.get(label, [])
            rows = [
                (i, *figures(one, facts.metric, found), tag("code", json.dumps(one.get("arch"))))
                for i, one in enumerate(listed[:MOST_ROWS])
            ]
            more = f", the first {MOST_ROWS} shown" if len(listed) > MOST_ROWS else ""
            title = f"{limits_of(found)}: {len(listed)} {'on the front' if label == 'front' else 'candidates'}{more}"
            parts.append(tag("details", tag("summary", title), table(head, rows)))
    return join(parts) if parts else missing("No candidates yet.", "They come with a search.")


def deployed(facts: Facts) -> Markup:
    """The artifacts, with what their verification found."""
    if not facts.deployed:
        return missing("Nothing was deployed yet.", f"netwright deploy {facts.run} --arch best --to onnx --out build/")
    metric = facts.metric
    head = (
        "folder",
        f"{noun(metric)}, deployed",
        f"{noun(metric)}, source",
        "same answer" if metric.key == "accuracy" else f"{noun(metric)} with the source as truth",
        "largest difference",
        "latency",
        "predicted",
        "limits exceeded",
    )
    rows = []
    for one in facts.deployed:
        checked = one.get("verification", {})
        rows.append(
            (
                one.get("folder", "unknown"),
                _unit(checked.get(f"{metric.key}_deployed"), metric),
                _unit(checked.get(f"{metric.key}_source"), metric),
                _unit(checked.get("agreement"), metric),
                number(checked.get("max_abs_difference"), 2),
                f"{number(value(one, 'latency_ms'))} ms{_measured_how(one, 'this file')}",
                f"{number(value(one.get('predicted', {}), 'latency_ms'))} ms",
                exceeded_text(one.get("exceeds") or {}) or "none",
            )
        )
    return table(head, rows)


def reproduce(facts: Facts) -> Markup:
    """The commands that make this run again, and the machine it was made on."""
    config, environment = facts.config, facts.environment
    machine = [(name, environment.get(name, "unknown")) for name in ("processor", "cores", "platform", "python")]
    machine += list((environment.get("versions") or {}).items())
    settings = json.dumps(config, indent=1)
    return join(
        [
            tag("pre", "\n".join(commands(facts))),
            tag("h3", "Machine and versions"),
            table(("what", "value"), machine, numbers_from=2) if environment else missing("Unknown.", ""),
            tag("details", tag("summary", "All settings (config.json)"), tag("pre", settings)),
        ]
    )


def commands(facts: Facts) -> list[str]:
    """Return the commands from data to report, with the settings of this run; they work where the report was made."""
    run = facts.path
    lines = [*_train_command(facts), shlex.join(["netwright", "device", "this", "--measure", "--space", run])]
    for found in facts.searches.values():
        budget = found.get("budget", {})
        limits = budget_options(budget)
        options = ["--strategy", found.get("strategy", "evolution"), "--seed", str(found.get("seed", 0))]
        options += ["--evaluations", str(found["evaluations"])] if found.get("evaluations") else []
        lines.append(
            shlex.join(["netwright", "search", run, "--device", str(found.get("device", "this")), *limits, *options])
        )
    lines += [f"netwright deploy {facts.run} --arch best --to onnx --out build/", f"netwright report {facts.run}"]
    return lines


def _train_command(facts: Facts) -> list[str]:
    config, data, recipe = facts.config, facts.config.get("data", {}), facts.config.get("recipe", {})
    own = config.get("own") or {}
    given = {"space": own.get("space"), "task": config.get("task")}
    lost = [f"{kind} {name!r}" for kind, name in given.items() if name and not is_own(name)]
    words = ["netwright", "train", data.get("source", "DATA"), "--out", facts.path]
    words += ["--space", own.get("space") or config.get("space", "SPACE")]
    words += ["--task", config["task"]] if "task" in config else []
    words += ["--size", data["size"]] if "size" in data else []
    method = recipe.get("method", "progressive")
    words += ["--recipe", method] if method in RECIPES else []
    usual = RECIPES[method]().to_json() if method in RECIPES else {}
    for name, setting in recipe.items():
        if setting != usual.get(name):
            words += ["--set", f"{name}={_text(setting)}"]
    words += [
        word
        for name in ("seed", "val_fraction", "search_fraction")
        if name in data
        for word in ("--set", f"data.{name}={data[name]}")
    ]
    for name, setting in (own.get("called_with") or config.get("settings", {})).items():
        if name not in ("classes", "size"):
            words += ["--set", f"space.{name}={_text(setting)}"]
    python = f"# In Python: the {' and '.join(lost)} were given as objects, which no command can name."
    return [*([python] if lost else []), shlex.join(map(str, words))]


def _text(setting: Any) -> str:
    """Write a setting as `--set` reads it."""
    return json.dumps(setting) if isinstance(setting, list | dict | bool) or setting is None else str(setting)


def limits_of(found: Mapping[str, Any]) -> str:
    """Return the limits of a search in words."""
    return budget_text(found.get("budget", {}))


def doubts(facts: Facts) -> list[str]:
    """Return what makes the figures of the networks doubtful, each once: limits exceeded, a busy machine, bounds."""
    found: dict[str, None] = {}
    for search in facts.searches.values():
        best = search["candidates"][0]
        if above := exceeded_text(_above(best, search)):
            found[f"The best network within {limits_of(search)} measures {above}: none within the limit was found."] = (
                None
            )
        if busy := (search.get("latency_model") or {}).get("busy"):
            found[f"Latencies are doubtful: when this device was measured, {busy}."] = None
        if value(best, "latency_ms") is not None and best["latency_ms"].get("kind") == "bounded":
            found[f"Latency is {best['latency_ms'].get('source', 'a bound; what it leaves out is not known')}."] = None
    for one in facts.deployed:
        if above := exceeded_text(one.get("exceeds") or {}):
            found[f"{one['folder']} measures {above}, the limit it was searched for."] = None
    return list(found)


def _above(one: Mapping[str, Any], search: Mapping[str, Any]) -> dict[str, float]:
    return exceeded(search.get("budget", {}), {"latency_ms": value(one, "latency_ms")})


def _measured_how(one: Mapping[str, Any], otherwise: str) -> str:
    """Return how and when a latency was measured, in brackets; older files do not tell."""
    return f" (measured: {(one.get('latency_ms') or {}).get('source') or f'{otherwise}, at a time not recorded'})"


def figures(one: Mapping[str, Any], metric: Metric, search: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the metric, latency, MACs and parameters of a candidate as texts, each with where it comes from.

    `search`: which listed it. A latency says how and when it was measured, and whether it exceeds the limit.
    """
    parts = []
    for name, unit in ((metric.key, metric.unit), ("latency_ms", "ms")):
        found, kind = value(one, name), (one.get(name) or {}).get("kind", "")
        how = f" ({kind})"
        if name == "latency_ms" and kind == "measured":
            above = exceeded_text(_above(one, search))
            how = f"{f', {above}' if above else ''}{_measured_how(one, 'by the search')}"
        parts.append("unknown" if found is None else f"{number(found)} {unit}".rstrip() + how)
    macs, params = value(one, "macs"), value(one, "params")
    parts.append("unknown" if macs is None else f"{macs / 1e6:.2f} M")
    parts.append("unknown" if params is None else f"{params / 1e3:.1f} k")
    return parts[0], parts[1], parts[2], parts[3]


def noun(metric: Metric) -> str:
    """Return what a text calls a metric: accuracy, mean IoU."""
    return "accuracy" if metric.key == "accuracy" else metric.name


def short(metric: Metric) -> str:
    """Return a metric's name for a narrow place."""
    return "top-1" if metric.key == "accuracy" else metric.name


def with_unit(metric: Metric) -> str:
    """Return a metric's name as the label of an axis."""
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def _unit(found: Any, metric: Metric) -> str:
    return f"{number(found)} {metric.unit}".rstrip()


def value(one: Mapping[str, Any], name: str) -> Any:
    """Return a figure's value, whether it stands alone or with its kind; None if there is none."""
    found = one.get(name)
    found = found.get("value") if isinstance(found, dict) else found
    return found if isinstance(found, int | float) else None


def number(found: Any, digits: int = 4) -> str:
    """Return a number with so many digits, or that it is unknown."""
    return f"{found:.{digits}g}" if isinstance(found, int | float) else "unknown"
