"""`netwright demo`: the whole way on a small dataset that comes with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.result import Result


def demo(
    out: Annotated[Path, typer.Option(help="Run directory; if it holds a demo, that one is resumed.")] = Path(
        "runs/demo"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Result:
    """Go the whole way on handwritten digits.

    Trains, measures this machine, searches, exports and reports.
    """
    del json
    from netwright.workflow.demo import demo as run_demo

    done = run_demo(out)
    shown = [
        f"Found for this machine in {done.seconds:.0f} s, from one training:",
        _table(done.networks),
        "",
        f"Latency model: mean error {done.latency_model['mape']:.1f} % on networks it had not seen; noise floor of its timings "
        f"{done.latency_model['noise_floor']:.1f} %.",
        *(f"warning: {text}." for text in done.warnings),
        "Every export was run with ONNX Runtime on the validation images and compared with its network in PyTorch.",
        f"Networks with their cards: {done.run / 'deployed'}",
        f"Report: {done.report.resolve()}",
    ]
    return Result(done.to_json(), shown)


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table

    from netwright.searching.limits.table import exceeded_text

    heads = ("budget", "top-1 accuracy", "measured", "predicted", "MACs", "parameters", "largest difference")
    table = Table(*heads, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[2].no_wrap = True  # the mark of a budget exceeded stays beside its figure
    for row in rows:
        table.add_row(
            row["budget"],
            f"{row['accuracy']:.1f} %",
            ", ".join(filter(None, [f"{row['latency_ms']:.3g} ms", exceeded_text(row["exceeds"])])),
            f"{row['predicted_ms']:.3g} ms",
            f"{row['macs'] / 1e6:.2f} M",
            f"{row['params'] / 1e3:.1f} k",
            f"{row['max_abs_difference']:.0e}",
        )
    return table
