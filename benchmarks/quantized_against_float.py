"""Networks of all kinds quantized and held against themselves in float: near, warned of, or refused by name; none silent.

    python benchmarks/quantized_against_float.py              # 300 networks; goes on where it stopped
    python benchmarks/quantized_against_float.py --count 60   # the first of each kind

Networks of timm and torchvision with random weights whose normalization is settled on the images, and random modules
with operations of several results, resizing, and normalization in odd places. Here the ratio to the float network is
computed anew from the integers, apart from what `quantize` tells. Writes results/quantized_against_float.json and .md;
rows done so far lie in runs/quantized_against_float.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.quantized_modules import random_module  # noqa: E402 - the checkout first
from benchmarks.results import save  # noqa: E402
from netwright.compression.quantization.post_training import quantize, to_integers  # noqa: E402
from netwright.core.errors import NetwrightError  # noqa: E402
from netwright.core.json_lines import append_line, read_lines  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.graph.integers.comparison import DOUBTFUL_DB  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.graph.integers.quantized import QuantizedGraph  # noqa: E402

IMAGES = 16
SIDE = 64
LARGEST = 8_000_000  # parameters
LARGEST_SIDE = 224  # of networks that take one size of images
STRIDE = 41
LARGE = re.compile("large|huge|giant|base|_b[4-9]|1[05][12]|vit_so|convnext_x")
TORCHVISION = (
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "squeezenet1_0", "squeezenet1_1", "mnasnet0_5"),
    *("mnasnet1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf", "regnet_x_400mf"),
    *("googlenet", "densenet121"),
)
Row = dict[str, Any]


def names(count: int) -> list[str]:
    """Return what is quantized: a third of timm, all of torchvision's, and random modules for the rest."""
    of_timm = _small_timm(max(1, count // 3))
    of_torchvision = _spread(list(TORCHVISION), max(1, count // 12))
    rest = count - len(of_timm) - len(of_torchvision)
    return [
        *(f"random:{seed}" for seed in range(rest)),
        *(f"torchvision:{name}" for name in of_torchvision),
        *(f"timm:{name}" for name in of_timm),
    ]


def _spread(found: list[str], count: int) -> list[str]:
    step = max(1.0, len(found) / count)
    return [found[int(place * step)] for place in range(min(count, len(found)))]


def _small_timm(count: int) -> list[str]:
    """Return some of timm's architectures that are small, spread over all, judged without their weights."""
    found, listed = [], timm.list_models()
    for name in (name for first in range(STRIDE) for name in listed[first::STRIDE]):
        if len(found) == count:
            break
        cfg = timm.get_pretrained_cfg(name)
        if cfg is None or (cfg.fixed_input_size and max(cfg.input_size[1:]) > LARGEST_SIDE) or LARGE.search(name):
            continue
        with contextlib.suppress(Exception), torch.device("meta"):
            if sum(tensor.numel() for tensor in timm.create_model(name).parameters()) <= LARGEST:
                found.append(name)
    return found


def build(name: str) -> nn.Module:
    """Build a network by the name of a row.

    Raises:
        Exception: whatever the network's own package raises.
    """
    torch.manual_seed(0)
    kind, _, rest = name.partition(":")
    if kind == "random":
        return random_module(int(rest))
    if kind == "torchvision":
        import torchvision

        options = {"aux_logits": False} if rest == "googlenet" else {}
        return torchvision.models.get_model(rest, weights=None, num_classes=10, **options)
    return timm.create_model(rest, num_classes=10)


def side_of(name: str) -> int:
    """Return the side of a network's images."""
    if not name.startswith("timm:"):
        return SIDE if name.startswith("torchvision:") else 24
    cfg = timm.get_pretrained_cfg(name.partition(":")[2])
    return max(cfg.input_size[1:]) if cfg is not None and cfg.fixed_input_size else SIDE


def settled(module: nn.Module, x_BCHW: Tensor) -> nn.Module:
    """Give every BatchNorm the statistics of the images and other weights than one and zero."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.momentum = None
            part.reset_running_stats()
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
        if isinstance(part, (nn.Dropout, nn.Dropout2d)):
            part.p = 0.0
    module.train()
    with torch.no_grad():
        module(x_BCHW)
    return module.eval()


def images(side: int) -> Tensor:
    """Return smooth random images, normalized."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(IMAGES, 3, max(2, side // 4), max(2, side // 4), generator=generator)
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic") + 0.1 * torch.randn(
        IMAGES, 3, side, side, generator=generator
    )


def one(name: str) -> Row:
    """Quantize one network: a row whose status is near, warned, refused, silent, not foreseen or not built."""
    started, row = time.monotonic(), {"name": name, "side": side_of(name)}
    x_BCHW = images(row["side"])
    try:
        module = settled(build(name), x_BCHW)
    except Exception as error:  # noqa: BLE001 - whatever a network's package raises is its reason
        return row | {"status": "not built", "reason": f"{type(error).__name__}: {_short(error)}"}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            model = quantize(module, [x_BCHW])
    except NetwrightError as error:
        return row | {"status": "refused", "reason": _short(error), "s": round(time.monotonic() - started, 1)}
    except Exception as error:  # noqa: BLE001 - what is promised never to happen must show in the table
        return row | {"status": "not foreseen", "reason": f"{type(error).__name__}: {_short(error)}"}
    ratios = measured(module, model, x_BCHW)
    warned = "far from the float network" in said.getvalue()
    far = min(ratios) < DOUBTFUL_DB
    status = "warned" if warned else "silent" if far else "near"
    told = model.comparison
    return row | {
        "status": status,
        "sqnr_db": [round(ratio, 2) for ratio in ratios],
        "told_db": None if told is None else [item.to_json()["sqnr_db"] for item in told.outputs],
        "agreement": None if told is None else told.agreement,
        "s": round(time.monotonic() - started, 1),
    }


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).partition(" Known are:")[0][:300]


@torch.no_grad()
def measured(module: nn.Module, model: QuantizedGraph, x_BCHW: Tensor) -> list[float]:
    """Return the ratio of every output to the float network's, dB, image by image and apart from `quantize`'s own."""
    wanted: list[list[Tensor]] = []
    for place in range(len(x_BCHW)):
        made = module(x_BCHW[place : place + 1])
        parts = (
            list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, (tuple, list)) else [made]
        )
        wanted.append(parts)
    stored = interpret(model, [to_integers(model, x_BCHW)])
    ratios = []
    for number, (index, values) in enumerate(zip(model.graph.outputs, stored, strict=True)):
        quantized = model.quantization[index]
        assert quantized is not None
        got = (values.astype(float) - int(quantized.zero_point[0])) * float(quantized.scale[0])
        real = np.stack([parts[number].numpy()[0] for parts in wanted])
        if model.outputs_channels_last[number]:
            got = np.moveaxis(got, -1, 1) if got.ndim == 4 else got
        noise = np.square(got.reshape(real.shape) - real).sum()
        ratios.append(float(10 * np.log10(np.square(real).sum() / max(noise, 1e-30))))
    return ratios


def main() -> None:
    """Quantize what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=1e9, help="Begin no network after these.")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begun = time.monotonic()
    kept = options.runs / "quantized_against_float.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = {row["name"]: row for row in (read_lines(kept) if kept.exists() else [])}
    wanted = names(options.count)
    for place, name in enumerate(wanted, 1):
        if name in rows or time.monotonic() - begun > 60 * options.minutes:
            continue
        rows[name] = one(name)
        append_line(kept, rows[name])
        row = rows[name]
        print(
            f"{place} of {len(wanted)}  {name}: {row['status']} {row.get('sqnr_db') or row.get('reason', '')}",
            flush=True,
        )
    done = [rows[name] for name in wanted if name in rows]
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "timm": timm.__version__,
        "images": IMAGES,
        "asked": len(wanted),
        "counts": dict(Counter(row["status"] for row in done)),
        "rows": done,
    }
    save(options.out, "quantized_against_float", result, page(result))


def page(result: dict[str, Any]) -> str:
    """Return the table for people."""
    rows, seen = result["rows"], result["environment"]
    lines = [
        "# Quantized networks against themselves in float",
        "",
        f"{len(rows)} of {result['asked']} networks, random settled weights, {result['images']} images, calibrated on the same; "
        f"{result['date']}; {', '.join(f'{key} {value}' for key, value in seen.items() if isinstance(value, str | int))}; "
        f"timm {result['timm']}. `python benchmarks/quantized_against_float.py`.",
        "",
        "near: every output at 20 dB or more. warned: below, and `quantize` says so. refused: by name. silent: below without a word.",
        "",
        "| status | networks |",
        "|---|---|",
        *(f"| {status} | {count} |" for status, count in sorted(result["counts"].items())),
        "",
        "## Silent or not foreseen",
        "",
        *(
            [
                f"- {row['name']}: {row.get('sqnr_db') or row['reason']}"
                for row in rows
                if row["status"] in ("silent", "not foreseen")
            ]
            or ["None."]
        ),
        "",
        "## All",
        "",
        "| network | side | status | least SQNR dB | agreement | reason |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        least = f"{min(row['sqnr_db']):.1f}" if row.get("sqnr_db") else ""
        agreed = "" if row.get("agreement") is None else f"{row['agreement']:.0%}"
        reason = row.get("reason", "").replace("|", "/")
        lines.append(f"| {row['name']} | {row['side']} | {row['status']} | {least} | {agreed} | {reason} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
