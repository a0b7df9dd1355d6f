"""Networks drawn block by block, as SVG that follows the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from netwright.models.family import PlacedBlock
from netwright.nn.block import Block, Shape
from netwright.report.html import Markup, join, put, tag

COLOURS = {1: "var(--k1)", 3: "var(--k3)", 5: "var(--k5)", 7: "var(--k7)"}
WIDEST, NARROWEST, TALLEST, LOWEST, GAP, STAGE_GAP, TOP = 62.0, 30.0, 96.0, 22.0, 2.0, 14.0, 8.0


@dataclass(frozen=True)
class Drawn:
    """What a picture shows of one block. Sizes are 0 where a block has none."""

    stage: str
    kernel: int
    expansion: float
    channels: int
    pixels: int
    label: str
    note: str


def describe(name: str, block: Block, in_shapes: tuple[Shape, ...], reads: tuple[str, ...] = ()) -> Drawn:
    """Read what can be drawn from a block of any family. `reads`: names of what it reads, where it says so."""
    out, in_shape = block.out_shape(*in_shapes), in_shapes[0]
    kernel = int(getattr(block, "kernel", 0) or 0)
    channels_in = in_shape[0] if len(in_shape) == 3 else in_shape[-1]
    hidden = float(getattr(block, "hidden", 0) or 0)
    inner = hidden / channels_in if hidden and len(out) > 1 else 0.0
    heads = int(getattr(block, "heads", 0) or 0)
    lines = [
        f"{kernel}x{kernel}" if kernel else "",
        f"x{inner:.2g}" if inner else "",
        f"{heads} heads" if heads else "",
    ]
    note = (
        f"{name}: {type(block).__name__}{' of ' * bool(reads)}{' and '.join(reads)}, "
        f"{', '.join('x'.join(map(str, shape)) for shape in in_shapes)} to {'x'.join(map(str, out))}, "
        f"{block.macs(*in_shapes) / 1e6:.3g} M MACs, {block.params() / 1e3:.3g} k parameters"
    )
    channels = out[0] if len(out) == 3 else list(out)[-1]
    pixels = out[1] if len(out) == 3 else 0
    return Drawn(name.rpartition(".")[0] or name, kernel, inner, channels, pixels, " ".join(filter(None, lines)), note)


@dataclass(frozen=True)
class Scale:
    """The largest values of a group of networks, so that their pictures compare."""

    expansion: float
    channels: int

    @classmethod
    def of(cls, networks: Iterable[Sequence[PlacedBlock]]) -> Scale:
        """Return the scale on which all these networks fit."""
        drawn = [describe(*entry) for blocks in networks for entry in blocks]
        return cls(max(1.0, *(block.expansion for block in drawn)), max(block.channels for block in drawn))


def draw(blocks: Sequence[PlacedBlock], title: str, scale: Scale) -> Markup:
    """Return one network as a row of blocks, grouped by stage.

    The width of a block is its expansion ratio, its height the channels it puts out, its colour the kernel size.
    """
    drawn = [describe(*entry) for entry in blocks]
    parts: list[object] = []
    left = 74.0
    parts.append(_input(blocks[0].shapes[0]))
    for stage, members in groupby(drawn, key=lambda block: block.stage):
        group, start = list(members), left
        for block in group:
            width = NARROWEST + (WIDEST - NARROWEST) * block.expansion / scale.expansion
            height = LOWEST + (TALLEST - LOWEST) * (block.channels / scale.channels) ** 0.5
            parts.append(_block(block, left, width, height))
            left += width + GAP
        parts.append(_stage_label(stage, group[-1], (start + left - GAP) / 2, start, left - GAP))
        left += STAGE_GAP
    height = TOP + TALLEST + 58
    return Markup(
        f'<svg viewBox="0 0 {left:.0f} {height:.0f}" style="width:{left:.0f}px" role="img" aria-label="{put(title)}" '
        'font-family="system-ui, DejaVu Sans, sans-serif">'
        f"{tag('title', title).text}{join(parts).text}</svg>"
    )


def legend(kernels: Iterable[int]) -> Markup:
    """Return the key to the colours, with what widths and heights mean."""
    sizes = sorted({max(kernel, 1) for kernel in kernels})
    names = {size: f"{size}x{size} kernel" if size > 1 else "1x1 kernel or none" for size in sizes}
    swatches = [tag("span", tag("i", style=f"background:{_colour(kernel)}"), name) for kernel, name in names.items()]
    meaning = "width: expansion ratio; height: output channels (root scale); point at a block for its figures"
    return tag("p", *swatches, tag("span", meaning), class_="key")


def _colour(kernel: int) -> str:
    return COLOURS.get(kernel, "var(--k1)")


def _input(shape: Shape) -> Markup:
    middle = TOP + TALLEST / 2
    size = f"{shape[1]} px" if len(shape) == 3 else str(shape[0])
    return join(
        [
            tag("text", "input", x=2, y=middle - 6, font_size=12, fill="var(--soft)"),
            tag("text", size, x=2, y=middle + 10, font_size=14, font_weight=600, fill="currentColor"),
            tag("path", d=f"M56 {middle} h12 m-5 -4 l5 4 l-5 4", fill="none", stroke="var(--soft)"),
        ]
    )


def _block(block: Drawn, left: float, width: float, height: float) -> Markup:
    top = TOP + (TALLEST - height) / 2
    middle, centre = TOP + TALLEST / 2, left + width / 2
    size = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}", "rx": 4}
    lines = block.label.split(" ", 1)
    texts = [
        tag(
            "text",
            line,
            x=f"{centre:.1f}",
            y=f"{middle + 4 + (index - (len(lines) - 1) / 2) * 13:.1f}",
            font_size=11 if index == 0 else 10.5,
            text_anchor="middle",
            fill="#10181f",
        )
        for index, line in enumerate(lines)
    ]
    shape = tag("rect", **size, fill=_colour(block.kernel), stroke="#10181f", stroke_width=0.6)
    return tag("g", tag("title", block.note), shape, *texts)


def _stage_label(stage: str, last: Drawn, centre: float, start: float, end: float) -> Markup:
    bottom = TOP + TALLEST + 10
    pixels = f"{last.pixels} px" if last.pixels else ""
    lines = [(stage, 600, "currentColor"), (f"{last.channels} ch", 400, "var(--soft)"), (pixels, 400, "var(--soft)")]
    parts: list[object] = [
        tag("path", d=f"M{start:.1f} {bottom} H{end:.1f}", stroke="var(--soft)", stroke_width=1.2, fill="none")
    ]
    for index, (text, weight, fill) in enumerate(lines):
        y = bottom + 15 + 14 * index
        parts.append(
            tag(
                "text",
                text,
                x=f"{centre:.1f}",
                y=y,
                font_size=11.5,
                font_weight=weight,
                text_anchor="middle",
                fill=fill,
            )
        )
    return join(parts)
