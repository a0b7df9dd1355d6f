"""Parameters and multiply-accumulates that the papers print, against those of timm's networks.

    python benchmarks/cost_papers.py            # half a minute
    python benchmarks/cost_papers.py --quick    # the MobileNets

Where a paper's own network differs from timm's, the deviation shows it; the remarks say why. Writes results/cost_papers.json
and results/cost_papers.md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.count import count  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402

Row = dict[str, Any]


@dataclass(frozen=True)
class Printed:
    """A row of a paper: parameters in millions, multiply-accumulates in billions, with the digits that it prints."""

    paper: str
    network: str
    timm: str
    side: int
    params: str
    macs: str
    remark: str = ""


_V1 = "MobileNets (Howard et al. 2017, arXiv 1704.04861), Table 8"
_V2 = "MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), Table 4"
_V3 = "MobileNetV3 (Howard et al. 2019, arXiv 1905.02244), Table 3"
_EFFICIENTNET = "EfficientNetV2 (Tan and Le 2021, arXiv 2104.00298), Table 7"
_NFNET = "NFNet (Brock et al. 2021, arXiv 2102.06171), Table 3"
_VIT = "EfficientViT (Cai et al. 2023, arXiv 2205.14756), Table 2 and the authors' model cards"

PRINTED = (
    Printed(_V1, "MobileNetV1 1.0", "mobilenetv1_100", 224, "4.2", "0.569"),
    Printed(
        _V2,
        "MobileNetV2 1.0",
        "mobilenetv2_100",
        224,
        "3.4",
        "0.300",
        "the authors' checkpoint list says 3.47 M, timm counts batch norm's too",
    ),
    Printed(
        _V2,
        "MobileNetV2 1.4",
        "mobilenetv2_140",
        224,
        "6.9",
        "0.585",
        "the authors' checkpoint list says 6.06 M and 0.582 G",
    ),
    Printed(_V3, "MobileNetV3-Large 1.0", "mobilenetv3_large_100", 224, "5.4", "0.219"),
    Printed(_V3, "MobileNetV3-Large 0.75", "mobilenetv3_large_075", 224, "4.0", "0.155"),
    Printed(_V3, "MobileNetV3-Small 1.0", "mobilenetv3_small_100", 224, "2.5", "0.056"),
    Printed(_V3, "MobileNetV3-Small 0.75", "mobilenetv3_small_075", 224, "2.0", "0.044"),
    Printed(
        _EFFICIENTNET, "EfficientNetV2-S", "tf_efficientnetv2_s", 384, "22", "8.8", "EfficientViT's authors count 8.4 G"
    ),
    Printed(
        _EFFICIENTNET, "EfficientNetV2-M", "tf_efficientnetv2_m", 480, "54", "24", "EfficientViT's authors count 25 G"
    ),
    Printed(_EFFICIENTNET, "EfficientNetV2-L", "tf_efficientnetv2_l", 480, "120", "53", "not explained"),
    Printed(_NFNET, "NFNet-F0", "dm_nfnet_f0", 256, "71.5", "12.38"),
    Printed(_NFNET, "NFNet-F3", "dm_nfnet_f3", 416, "254.9", "114.76"),
    Printed(_NFNET, "NFNet-F4", "dm_nfnet_f4", 512, "316.1", "215.24"),
    Printed(_VIT, "EfficientViT-B1", "efficientvit_b1", 224, "9.1", "0.52"),
    Printed(_VIT, "EfficientViT-B1", "efficientvit_b1", 256, "9.1", "0.68"),
    Printed(_VIT, "EfficientViT-B1", "efficientvit_b1", 288, "9.1", "0.86"),
    Printed(_VIT, "EfficientViT-B2", "efficientvit_b2", 224, "24", "1.6"),
    Printed(_VIT, "EfficientViT-B2", "efficientvit_b2", 256, "24", "2.1"),
    Printed(_VIT, "EfficientViT-B2", "efficientvit_b2", 288, "24", "2.6"),
    Printed(_VIT, "EfficientViT-B3", "efficientvit_b3", 224, "49", "4.0"),
    Printed(_VIT, "EfficientViT-B3", "efficientvit_b3", 256, "49", "5.2"),
    Printed(_VIT, "EfficientViT-B3", "efficientvit_b3", 288, "49", "6.5"),
    Printed(_VIT, "EfficientViT-L1", "efficientvit_l1", 224, "53", "5.3"),
    Printed(_VIT, "EfficientViT-L2", "efficientvit_l2", 224, "64", "6.9"),
    Printed(_VIT, "EfficientViT-L2", "efficientvit_l2", 256, "64", "9.1"),
    Printed(_VIT, "EfficientViT-L2", "efficientvit_l2", 288, "64", "11"),
    Printed(_VIT, "EfficientViT-L2", "efficientvit_l2", 320, "64", "14"),
    Printed(_VIT, "EfficientViT-L2", "efficientvit_l2", 384, "64", "20"),
    Printed(_VIT, "EfficientViT-L3", "efficientvit_l3", 224, "246", "28"),
    Printed(_VIT, "EfficientViT-L3", "efficientvit_l3", 384, "246", "81"),
)


def rounds_to(value: float, printed: str) -> bool:
    """Tell whether a value, rounded or cut to the digits printed, is what is printed."""
    unit = 10.0 ** -len(printed.partition(".")[2])
    return abs(value - float(printed)) <= unit / 2 or 0 <= value - float(printed) < unit


def compare(printed: Printed) -> Row:
    """Count timm's network at the paper's input size."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = timm.create_model(printed.timm)
    counts = count(capture(module, torch.empty(1, 3, printed.side, printed.side, device="meta")))
    return {
        **asdict(printed),
        "counted_params": counts.params,
        "counted_macs": counts.macs,
        "params_deviation": counts.params / 1e6 / float(printed.params) - 1,
        "macs_deviation": counts.macs / 1e9 / float(printed.macs) - 1,
        "params_as_printed": rounds_to(counts.params / 1e6, printed.params),
        "macs_as_printed": rounds_to(counts.macs / 1e9, printed.macs),
        "unpriced": [one.kind for one in counts.unpriced],
    }


def main() -> None:
    """Count all, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the MobileNets only")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for printed in PRINTED:
        if not options.quick or printed.network.startswith("MobileNet"):
            rows.append(compare(printed))
            print(printed.network, printed.side, file=sys.stderr, flush=True)
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "largest_params_deviation": max(abs(row["params_deviation"]) for row in rows),
        "largest_macs_deviation": max(abs(row["macs_deviation"]) for row in rows),
        "params_as_printed": sum(row["params_as_printed"] for row in rows),
        "macs_as_printed": sum(row["macs_as_printed"] for row in rows),
        "networks": rows,
    }
    stem = "cost_papers.quick" if options.quick else "cost_papers"
    save(options.out, stem, result, _markdown(result))


def _markdown(result: Row) -> str:
    machine, rows = result["environment"], result["networks"]
    lines = [
        f"# Parameters and multiply-accumulates of the papers' networks, {result['date']}",
        "",
        f"timm {timm.__version__}, torch {machine['versions']['torch']}, batch 1. Printed figures are rounded as in the papers; counted ones are convolutions",
        f"and matrix products of timm's networks. Of {len(rows)} rows, {result['params_as_printed']} round to the printed parameters and",
        f"{result['macs_as_printed']} to the printed MACs (bold where not).",
        "",
        "| network | pixels | M params | counted | | G MACs | counted | | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    paper = None
    for row in rows:
        if row["paper"] != paper:
            paper = row["paper"]
            lines.append(f"| **{paper}** | | | | | | | | |")
        lines.append(
            f"| {row['network']} (`{row['timm']}`) | {row['side']} | {row['params']} | {row['counted_params'] / 1e6:.3f} "
            f"| {_deviation(row, 'params')} | {row['macs']} | {row['counted_macs'] / 1e9:.4f} "
            f"| {_deviation(row, 'macs')} | {row['remark']} |"
        )
    lines += [
        "",
        "Not in timm, so not counted here: EfficientViT's segmentation and SAM networks.",
    ]
    return "\n".join(lines) + "\n"


def _deviation(row: Row, what: str) -> str:
    text = f"{row[f'{what}_deviation']:+.1%}"
    return text if row[f"{what}_as_printed"] else f"**{text}**"


if __name__ == "__main__":
    main()
