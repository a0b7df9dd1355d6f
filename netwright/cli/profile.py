"""`netwright profile`: everything that one network costs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.result import Result
from netwright.core.errors import NetwrightError
from netwright.core.tables import OWN

if TYPE_CHECKING:
    from rich.table import Table

    from netwright.cost.layers import Branch
    from netwright.cost.profile import Profile

DEPTH = 2  # levels of the module tree that are printed; --json and --html have every layer
LEAST_SHARE = 0.005
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def profile(
    model: Annotated[
        str, typer.Argument(help="timm model, torchvision:NAME, SPACE:ARCH, RUN:ARCH, FILE.py:FUNCTION, or a file.")
    ],
    input: Annotated[
        str | None, typer.Option(help="Shape of the input: 1x3x224x224, 1x77:int64, several with commas.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device for latency bound and energy: this, a100, stm32f746, ...")
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="Training memory: full, last, bias, norm+last, lora or a pattern; :blocks, :sqrt or :30MB for a plan."
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="sgd, momentum, adam, adamw or adamw8bit.")] = "momentum",
    dtype: Annotated[str | None, typer.Option(help="Activations as if in this type: float16, int8, ...")] = None,
    compare: Annotated[str | None, typer.Option(help="A second model, shown side by side.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if an operation has no price.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Run it here and time every operation.")] = False,
    rules: Annotated[
        str | None, typer.Option(help="Prices of your own operations: a dictionary, FILE.py:NAME.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help=f"A space of your own, {OWN}: MODEL is an architecture of it, or a run.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Print what a network costs: parameters, MACs, memory.

    Also bytes moved, the latency bound and energy.
    """
    del json
    from netwright.workflow.profile import example_inputs, refuse_unpriced
    from netwright.workflow.profile import profile as profile_of

    inputs = example_inputs(input)
    asked: dict[str, Any] = {"device": device, "train": train, "optimizer": optimizer, "dtype": dtype}
    asked |= {"measure": measure, "space": space, "rules": rules}
    found = [profile_of(name, *inputs, **asked) for name in (model, compare) if name is not None]
    if strict:
        refuse_unpriced(found)
    if html is not None:
        if html.exists() and any(Path(name).exists() and html.samefile(name) for name in (model, compare or "")):
            raise NetwrightError(f"--html {html} is the model itself. Give another file for the page.")
        from netwright.core.files import write_bytes
        from netwright.report.profile_page import profile_page

        write_bytes(html, profile_page(found).encode())
    show: list[Any] = list(describe(found[0])) if len(found) == 1 else [side_by_side(found)]
    if html is not None:
        show.append(f"report: {html}")
    data = found[0].to_json()
    if compare is not None:
        data = {"models": [one.to_json() for one in found]}
    return Result(data, show, " ".join(one.missing for one in found if one.missing) or None)


def describe(one: Profile) -> Iterator[Any]:
    """Yield what people see of one model: the tree, the totals, the savings, and what is not known."""
    yield f"{one.model}, input {_shapes(one)}, {one.dtype}"
    yield tree_table(one)
    for name, value in totals(one):
        yield f"{name:<28}{value}"
    if one.memory.peak_tensors:
        held = ", ".join(f"{_name(tensor.name)} {_bytes(tensor.bytes)}" for tensor in one.memory.peak_tensors[:4])
        yield f"{'alive at the peak':<28}{held}"
    for number, saving in enumerate(one.savings, 1):
        yield f"saving {number}: {saving.share:.0%} of the {saving.unit}: {saving.what}"
    for item in one.counts.unpriced:
        yield f"not priced: {item.kind}, {item.calls} calls, {item.share_of_elements:.2%} of all elements"
    for note in one.notes:
        yield f"note: {note}"


def totals(one: Profile) -> Iterator[tuple[str, str]]:
    """Yield name and value of each figure of a model."""
    yield "parameters", f"{one.params:,}"
    yield "multiply-accumulates", one.macs_text
    yield "operations (flops)", one.flops_text
    yield "bytes moved", one.bytes_moved_text
    held = "at least " if one.memory.at_least else ""
    bound = one.memory.lower_bound_bytes
    best = f", least of any order {_bytes(bound)} ({one.memory.lower_bound_kind})" if bound is not None else ""
    as_if = f", {one.memory_dtype}" if one.memory_dtype else ""
    yield f"peak memory, planned{as_if}", f"{held}{_bytes(one.memory.peak_bytes)}{best}"
    if one.eager_memory_bytes is not None:
        more = one.eager_workspace_bytes or 0
        taken = (
            f", {_bytes(more)} with what its convolutions take for themselves" if more > one.eager_memory_bytes else ""
        )
        yield "peak memory, PyTorch eager", f"{_bytes(one.eager_memory_bytes)} besides the input{taken}"
    if one.training:
        step = one.training
        yield (
            f"training memory, {step.mode}",
            f"{_bytes(step.total_bytes)}, batch {step.batch}: activations and gradients {_bytes(step.peak_bytes)} at the peak, "
            f"weights and buffers {_bytes(step.weight_bytes + step.buffer_bytes)}, {step.optimizer} {_bytes(step.optimizer_bytes)}",
        )
        yield (
            "saved for backward",
            f"{_bytes(step.saved_bytes)}; by an engine that knows what is frozen {_bytes(step.saved_bytes_frozen_aware)}",
        )
    if one.checkpointing:
        kept = one.checkpointing
        share = kept.recomputed_macs / max(1, one.macs)
        yield (
            f"checkpointing, {kept.policy}",
            f"{_bytes(kept.peak_bytes)} at the peak of activations, predicted; recomputes {share:.0%} of the forward MACs",
        )
    where = f" on {one.device.name}" if one.device else ""
    if one.latency_ms and one.latency_ms.kind == "measured":
        yield "latency", f"{one.latency_ms.value:.4g} ms measured here, PyTorch eager, one thread"
    if one.roofline:
        each = one.roofline.total.value
        yield "latency bound", f"{one.roofline.floor.value:.4g} ms{where}; {each:.4g} ms with the operations one by one"
    if one.energy_mj:
        yield "energy", f"{one.energy_mj.value:.4g} mJ {one.energy_mj.kind}{where}"


def tree_table(one: Profile) -> Table:
    """Return the module tree with shares."""
    from rich.table import Table

    from netwright.cost.layers import tree

    timed = "measured" if one.latency_ms and one.latency_ms.kind == "measured" else "bound" if one.roofline else ""
    table = Table("module", "parameters", "MACs", "share", "bytes moved", box=None, pad_edge=False)
    if timed:
        table.add_column(f"ms {timed}")
    for column in table.columns[1:]:
        column.justify = "right"
    root = tree(one.layers)

    def add(name: str, node: Branch, depth: int) -> None:
        time_ms = node.measured_ms if timed == "measured" else node.bound_ms
        row = [
            "  " * depth + name,
            short(node.params),
            short(node.macs),
            f"{node.macs / max(1, root.macs):.1%}",
            short(node.bytes_moved),
        ]
        table.add_row(*row, *([f"{time_ms:.3g}"] if timed else []))
        if depth < DEPTH:
            for child, below in node.children.items():
                if below.params or below.macs or below.bytes_moved >= LEAST_SHARE * root.bytes_moved:
                    add(child, below, depth + 1)

    add("total", root, 0)
    return table


def side_by_side(found: list[Profile]) -> Table:
    """Return the totals of several models as columns."""
    from rich.table import Table

    table = Table("", *(one.model for one in found), box=None, pad_edge=False)
    table.add_row("input", *(_shapes(one) for one in found))
    columns = [dict(totals(one)) for one in found]
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    return table


def short(count: float) -> str:
    """Return a count in at most four digits: 300.8 M."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f}"


def _bytes(count: float) -> str:
    return f"{short(count)}B" if count >= 1000 else f"{count:.0f} B"


def _name(name: str) -> str:
    """Return a tensor's name, without the many that a converter joined into it."""
    return name.partition(";")[0] or "input"


def _shapes(one: Profile) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in one.inputs)
