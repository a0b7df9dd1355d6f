"""How long a whole report takes: capture, counts, memory, training memory, roofline, energy, page.

    python benchmarks/cost_report.py            # the seven models; about two minutes
    python benchmarks/cost_report.py --quick    # two of them

Each model in a process of its own, one thread. Times are processor seconds: importing torch and timm, building the model
on the meta device, `profile` for inference with device and for a training step of all parameters, the page with its plots,
and the whole process. Writes results/cost_report.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402

MODELS = (
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "tf_efficientnetv2_s",
    "efficientvit_b1",
    "dm_nfnet_f0",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
)
PROMISE_S = 2.0

PROGRAM = """
import json, sys, time
clock = time.process_time
marks = [clock()]
import torch
marks.append(clock())
import timm
marks.append(clock())
import netwright
from netwright.report.profile_page import profile_page
with torch.device("meta"):
    net = timm.create_model(sys.argv[1])
side = net.pretrained_cfg["input_size"][-1]
image = torch.empty(1, 3, side, side, device="meta")
marks.append(clock())
found = netwright.profile(net, image, name=sys.argv[1], device=netwright.machine("a100"))
marks.append(clock())
both = netwright.profile(net, image, name=sys.argv[1], device=netwright.machine("a100"), train="full", optimizer="adam")
marks.append(clock())
page = profile_page([both])
marks.append(clock())
steps = [after - before for before, after in zip(marks, marks[1:])]
names = ["import_torch", "import_timm", "build", "profile", "profile_with_training", "page"]
print(json.dumps({"side": side, "ops": len(found.graph.ops), "macs": found.macs} | dict(zip(names, steps)) | {"process": clock()}))
"""


def time_report(model: str) -> dict[str, Any]:
    """Return the processor seconds of each step for one model."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    return {"model": model, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Time the reports and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two models, once")
    quick = parser.parse_args().quick
    rows = []
    for model in MODELS[: 2 if quick else None]:
        runs = [time_report(model) for _ in range(1 if quick else 3)]
        rows.append(min(runs, key=lambda run: run["profile_with_training"]))
        print(rows[-1], flush=True)
    name = "cost_report.quick" if quick else "cost_report"
    seen = environment()
    result = {"date": datetime.date.today().isoformat(), "environment": seen, "promise_s": PROMISE_S, "models": rows}
    lines = [
        f"# Time of a whole report, {result['date']}",
        "",
        f"{seen['processor']}, torch {seen['versions']['torch']}, one thread, processor seconds, the best of three.",
        f"Promise: at most {PROMISE_S:g} s for a report.",
        "",
        "| model | operations | inference report | with a training step | page with plots | import torch | import timm |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = ("profile", "profile_with_training", "page", "import_torch", "import_timm")
    lines += [
        f"| {row['model']}@{row['side']} | {row['ops']} | " + " | ".join(f"{row[key]:.2f}" for key in columns) + " |"
        for row in rows
    ]
    save(ROOT / "results", name, result, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
