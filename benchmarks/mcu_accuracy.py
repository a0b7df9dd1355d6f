"""Top-1 of the int8 layer lists on ImageNet images: generated C, the interpreter, and exact real arithmetic.

    python benchmarks/mcu_accuracy.py DATA            # DATA/models/*.json with .npz, DATA/imagenet-sample.zip
    python benchmarks/mcu_accuracy.py DATA --quick    # every tenth image

Images: short side 147, middle 128 x 128, pixel - 127.5 to the nearest even. Three ways of resizing, as they move top-1 by as
much as the arithmetic does: bilinear with antialiasing in float32 (torch), the same rounded to whole pixels, and Pillow's.
Exact arithmetic: sums times real scales, rounded once (the semantics that the lists state), residuals too. The C runs on
this machine; mcu_exact.py shows that emulated C gives the same. Writes results/mcu_accuracy.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.graph.files.layer_list import read_layer_list  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.mcu.compile import compile_network  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402

# Top-1 that the data's description states: exact arithmetic, the authors' own code.
STATED = {"mbv2-w0.35": (51.4, 51.9), "mcunet-5fps": (61.9, 60.9)}
SHORT, SIDE = 147, 128
RESIZERS = ("torch, float32", "torch, whole pixels", "Pillow")


def resized(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Return one image (SIDE, SIDE, 3) by each way of resizing, pixels from 0 to 255."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    width, height = image.size
    wide, high = (SHORT, int(SHORT * height / width)) if width < height else (int(SHORT * width / height), SHORT)
    left, top = round((wide - SIDE) / 2), round((high - SIDE) / 2)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    smooth = functional.interpolate(pixels, (high, wide), mode="bilinear", antialias=True)
    cut = smooth[0, :, top : top + SIDE, left : left + SIDE].permute(1, 2, 0).numpy()
    pillow = image.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + SIDE, top + SIDE))
    return dict(zip(RESIZERS, (cut, np.rint(cut), np.asarray(pillow, np.float32)), strict=True))


def images(path: Path, step: int) -> tuple[dict[str, NDArray[np.int8]], NDArray[np.int64]]:
    """Return int8 images (N, SIDE, SIDE, 3) by way of resizing, and labels: the places of the sorted class names."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg")))
        classes = sorted({name.split("/")[-2] for name in names})
        names = names[::step]
        made = [resized(archive.read(name)) for name in names]
    stored = {way: np.stack([one[way] for one in made]) for way in RESIZERS}
    labels = np.array([classes.index(name.split("/")[-2]) for name in names])
    return {way: np.clip(np.rint(x - 127.5), -128, 127).astype(np.int8) for way, x in stored.items()}, labels


def exact(path: Path, images_NHWC: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the classes found with real scales and one rounding a layer, as the list states its semantics."""
    described, arrays = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
    weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def stored(values: Tensor, zero: int) -> Tensor:
        return (torch.round(values) + zero).clamp(-128, 127).float()

    def conv(layer: dict[str, Any], x: Tensor) -> Tensor:
        weight, bias, scales = (weights[f"{layer['name']}.{part}"] for part in ("weight", "bias", "w_scales"))
        options = {"stride": layer["stride"], "padding": layer["pad"], "groups": layer["groups"]}
        sums = functional.conv2d(x - layer["x_zero"], weight.float(), **options).double() + bias[:, None, None]
        return stored(sums * (scales.double() * layer["x_scale"] / layer["y_scale"])[:, None, None], layer["y_zero"])

    x = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float()
    for layer in described["layers"]:
        if layer["op"] == "avgpool_round":
            x = stored(x.double().mean((2, 3), keepdim=True), 0)
            continue
        before = x
        for part in layer["convs"] if layer["op"] == "block" else [layer]:
            x = conv(part, x)
        if r := layer.get("residual"):
            total = (before.double() - r["x1_zero"]) * r["x1_scale"] + (x.double() - r["x2_zero"]) * r["x2_scale"]
            x = stored(total / r["y_scale"], r["y_zero"])
    return x.flatten(1).argmax(dim=1).numpy()


def measure(path: Path, by_way: dict[str, NDArray[np.int8]], labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return a row for each way of resizing."""
    model = read_layer_list(path)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_network(model, Path(folder) / "net")
        host = build_host(compiled.directory)
        for way, x in by_way.items():
            found = interpret(model, [x])[0]
            in_c = host.run(x)
            real = np.concatenate([exact(path, x[first : first + 50]) for first in range(0, len(x), 50)])
            row = {
                "model": path.stem,
                "resized": way,
                "images": len(x),
                "c": 100 * float((in_c.argmax(axis=1) == labels).mean()),
                "interpreter": 100 * float((found.argmax(axis=1) == labels).mean()),
                "exact": 100 * float((real == labels).mean()),
                "differ": int(np.count_nonzero(found != in_c)),
            }
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def markdown(record: dict[str, Any]) -> str:
    """Write the record as a page."""
    lines = ["# Top-1 of int8 networks through generated C", ""]
    lines += [
        "| network | resized by | images | C | interpreter | values that differ | exact arithmetic | stated: exact, authors' code |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for row in record["rows"]:
        stated = ", ".join(f"{value:.1f}" for value in STATED.get(row["model"], ()))
        lines.append(
            f"| {row['model']} | {row['resized']} | {row['images']:,} | {row['c']:.1f} % | {row['interpreter']:.1f} % | "
            f"{row['differ']} | {row['exact']:.1f} % | {stated} |"
        )
    machine = record["environment"]
    lines += [
        "",
        "C and interpreter round as TensorFlow Lite does (twice, 31-bit multipliers); exact arithmetic rounds reals once. "
        "An image is 0.1 %; two roundings of the same sums, or of the same pixels, change the answer for 5 to 10 of 1,000.",
        "",
        f"{record['date']}, {machine['processor']}, Python {machine['python']}, numpy {machine['versions']['numpy']}, "
        f"torch {machine['versions']['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results/mcu_accuracy.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with models/ and imagenet-sample.zip")
    parser.add_argument("--quick", action="store_true", help="every tenth image")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    by_way, labels = images(options.data / "imagenet-sample.zip", 10 if options.quick else 1)
    paths = sorted((options.data / "models").glob("*.json"))
    rows = [row for path in paths for row in measure(path, by_way, labels)]
    record = {
        "quick": options.quick,
        "rows": rows,
        "stated": STATED,
        "environment": environment(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    save(options.out, "mcu_accuracy.quick" if options.quick else "mcu_accuracy", record, markdown(record))


if __name__ == "__main__":
    main()
