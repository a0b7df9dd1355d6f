"""The one-file page of one or more profiles."""

from __future__ import annotations

from collections.abc import Sequence

from netwright.cost.profile import Profile
from netwright.report import profile_plots
from netwright.report.html import Markup, figure, join, page, table, tag

MOST_ROWS = 400
TRAINING = {
    "saved_bytes": "saved for the backward pass, as PyTorch does",
    "saved_bytes_frozen_aware": "saved by an engine that knows what is frozen",
    "gradient_bytes": "gradients of the parameters",
    "optimizer_bytes": "state of the optimizer",
    "weight_bytes": "parameters",
    "buffer_bytes": "buffers",
    "workspace_bytes": "at the peak, neither saved nor a parameter's gradient",
    "peak_bytes": "peak of activations and gradients",
    "total_bytes": "all together at the peak",
}


def profile_page(profiles: Sequence[Profile]) -> str:
    """Return the page as HTML; it loads nothing from outside."""
    parts = [_compared(profiles)] if len(profiles) > 1 else []
    parts += [_one(profile, number) for number, profile in enumerate(profiles)]
    return page(" and ".join(profile.model for profile in profiles), join(parts))


def _compared(profiles: Sequence[Profile]) -> Markup:
    rows = [
        ("input", *(_shapes(one) for one in profiles)),
        ("parameters", *(f"{one.params:,}" for one in profiles)),
        ("multiply-accumulates", *(one.macs_text for one in profiles)),
        ("operations (flops)", *(one.flops_text for one in profiles)),
        ("bytes moved", *(one.bytes_moved_text for one in profiles)),
        ("peak memory, planned (bytes)", *(f"{one.memory.peak_bytes:,}" for one in profiles)),
        ("peak memory, PyTorch eager (bytes)", *(f"{one.eager_memory_bytes or 0:,}" for one in profiles)),
        ("latency", *(_figure(one, "latency_ms", "ms") for one in profiles)),
        ("energy", *(_figure(one, "energy_mj", "mJ") for one in profiles)),
    ]
    return join([tag("h1", "Side by side"), table(("", *(one.model for one in profiles)), rows)])


def _one(one: Profile, number: int) -> Markup:
    parts: list[object] = [
        tag("h1", one.model),
        tag("p", f"Input {_shapes(one)}, {one.dtype}.", class_="soft"),
        _tiles(one),
    ]
    parts += [tag("p", note, class_="missing") for note in (*filter(None, [one.missing]), *one.notes)]
    if one.savings:
        parts.append(tag("h2", "What would make it cheaper"))
        rows = [(saving.what, f"{saving.share:.0%} of the {saving.unit}") for saving in one.savings]
        parts += [
            table(("change", "saves"), rows),
            tag("p", "What a change does to accuracy is not known here.", class_="soft"),
        ]
    parts += [tag("h2", "Memory"), _memory(one, number), tag("h2", "Layers"), _pictures(one, number)]
    parts += [_unpriced(one), _layers(one)]
    return join(parts)


def _tiles(one: Profile) -> Markup:
    bound, held = ("at least " * one.at_least, "at least " * one.memory.at_least)
    macs = "not known" if one.missing and not one.macs else f"{bound}{one.macs / 1e6:,.1f} M"
    tiles = [
        (f"{one.params:,}", "parameters"),
        (macs, "multiply-accumulates"),
        (f"{held}{one.memory.peak_bytes / 1e6:,.2f} MB", "peak memory of inference, planned"),
        (f"{held}{one.bytes_moved / 1e6:,.1f} MB", "moved"),
    ]
    if one.latency_ms:
        where = f" on {one.device.name}" if one.device and one.latency_ms.kind != "measured" else " here"
        tiles.append((f"{one.latency_ms.value:.4g} ms", f"latency, {one.latency_ms.kind}{where}"))
    if one.energy_mj:
        tiles.append(
            (
                f"{one.energy_mj.value:.4g} mJ",
                f"energy, {one.energy_mj.kind}",
            )
        )
    if one.training:
        tiles.append(
            (f"{one.training.total_bytes / 1e6:,.1f} MB", f"training, {one.training.mode}, batch {one.training.batch}")
        )
    return tag(
        "div",
        *(tag("div", tag("b", value), tag("span", label), class_="tile") for value, label in tiles),
        class_="tiles",
    )


def _memory(one: Profile, number: int) -> Markup:
    caption = "Activations alive during each operation: BatchNorm folded, elementwise work in place, each freed after its last use."
    rows = [
        (tensor.name, "x".join(map(str, tensor.shape)), tensor.dtype, f"{tensor.bytes:,}")
        for tensor in one.memory.peak_tensors
    ]
    alive = table(("alive at the peak", "shape", "type", "bytes"), rows, numbers_from=3)
    parts = [figure(profile_plots.timeline(f"memory{number}", one.memory), caption), alive]
    if one.training:
        step = one.training.to_json()
        rows = [(name, f"{step[key]:,}") for key, name in TRAINING.items()]
        if one.checkpointing:
            plan = one.checkpointing
            share = plan.recomputed_macs / max(1, one.macs)
            what = f"peak of activations and gradients by the plan {plan.policy!r}, which recomputes {share:.0%} of the MACs"
            rows.append((what, f"{plan.peak_bytes:,}"))
        parts.append(
            table((f"training step: {step['mode']}, {step['optimizer']}, batch {step['batch']}", "bytes"), rows)
        )
    return join(parts)


def _pictures(one: Profile, number: int) -> Markup:
    parts = [
        figure(
            profile_plots.bars(f"bars{number}", one.layers),
            "The layers with the largest shares, in the order in which they run.",
        )
    ]
    if one.device and one.roofline:
        measured = (
            "Its height is what was measured here." if _timed(one) else "Nothing was timed: it lies on its bound."
        )
        caption = f"Each dot a layer, its size its multiply-accumulates. {measured} Machine: {one.device.name}, {one.device.scope}."
        picture = profile_plots.on_roofline(f"roof{number}", one.layers, one.device, one.graph_dtype)
        parts.append(figure(picture, caption))
        peak = one.device.peak(one.graph_dtype)
        if _timed(one) and peak is not None:
            picture = profile_plots.waterline(f"water{number}", one.layers, peak.value)
            caption = "Waterline: between the line and the filled part lies what the kernels leave unused."
            parts.append(figure(picture, caption))
    return tag("div", *parts, class_="plots")


def _unpriced(one: Profile) -> Markup:
    if not one.counts.unpriced:
        return tag("p", "Every operation has a price.", class_="soft")
    rows = [(item.kind, f"{item.calls}", f"{item.share_of_elements:.2%}") for item in one.counts.unpriced]
    return join([tag("h3", "Not priced"), table(("operation", "calls", "share of all elements"), rows)])


def _layers(one: Profile) -> Markup:
    head = ["layer", "kind", "output", "parameters", "MACs", "bytes moved", "bound", "bound ms", "measured ms"]
    rows = [
        (
            layer.path or "(root)",
            layer.layer,
            "x".join(map(str, layer.output)),
            f"{layer.params:,}",
            f"{layer.macs:,}",
            f"{layer.bytes_moved:,}",
            layer.bound or "",
            "" if layer.bound_ms is None else f"{layer.bound_ms:.4f}",
            "" if layer.measured_ms is None else f"{layer.measured_ms:.4f}",
        )
        for layer in one.layers[:MOST_ROWS]
    ]
    kept = [place for place in range(len(head)) if place < 6 or any(row[place] for row in rows)]
    shown = table([head[place] for place in kept], [[row[place] for place in kept] for row in rows], numbers_from=3)
    return tag("details", tag("summary", f"All {len(one.layers)} layers"), shown)


def _timed(one: Profile) -> bool:
    return one.latency_ms is not None and one.latency_ms.kind == "measured"


def _figure(one: Profile, name: str, unit: str) -> str:
    value = getattr(one, name)
    return f"{value.value:.4g} {unit}, {value.kind}" if value else "not asked"


def _shapes(one: Profile) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in one.inputs)
