"""The model card: what a deployed network is, what it costs and how well it does, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwright.core.metric import Metric
from netwright.cost.figures import Cost, Figure
from netwright.deployment.contract import Contract
from netwright.deployment.verify import Verification
from netwright.models.arch import Arch
from netwright.tasks.task import OutputContract

USAGE = """import io, json, pathlib, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
told = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
first, size = told["decoded_size"], told["size"]
mean, std = (told["scale"] * np.array(told[name], np.float32)[:, None, None] for name in ("mean", "std"))

image = Image.open(io.BytesIO(pathlib.Path(sys.argv[1]).read_bytes()))
image.draft(None, (2 * first, 2 * first))  # a large JPEG is decoded smaller
ImageOps.exif_transpose(image, in_place=True)
if image.mode.startswith("I"):  # the upper 8 of 16 bits
    deep = np.asarray(image)
    bytes_only = image.mode == "I" and image.format not in ("PNG", "PPM") and deep.max() <= 255
    image = Image.fromarray((deep if bytes_only else deep.astype(int) >> 8).astype(np.uint8))
elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
image = image.convert("RGB")
if image.size != (first, first):  # the centre square
    left, top = ((side - min(image.size)) / 2 for side in image.size)
    box = (left, top, left + min(image.size), top + min(image.size))
    image = image.resize((first, first), Image.Resampling.BICUBIC, box=box)
step, x = first / size, np.asarray(image, np.float32).transpose(2, 0, 1)
weights = np.maximum(1 - abs((np.arange(size)[:, None] + 0.5) * step - np.arange(first) - 0.5) / max(step, 1), 0)
weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)  # bilinear, antialiased: from first to size
x = (weights @ x @ weights.T - mean) / std
output = session.run(None, {told["input_name"]: x[None]})[0][0]
"""


def card(
    *,
    name: str,
    contract: Contract,
    outputs: OutputContract,
    arch: Arch,
    predicted: Cost,
    measured: Mapping[str, Figure],
    verification: Verification,
    origin: Mapping[str, Any],
    environment: Mapping[str, Any],
    usage: str = USAGE,
    exceeds: str = "",
) -> str:
    """Return the card as Markdown.

    Args:
        outputs: what the network returns, by its task.
        predicted: what the search expected; MACs and parameters in it are exact.
        measured: figures of the deployed program by name: "latency_ms", and the key of the task's metric.
        origin: texts on where the network comes from (run, space, data, ...), shown in order.
        usage: Python that runs the model beside the card, see `targets.Exported`; empty: none is shown.
        exceeds: the limits of its search that it was measured to be above, in words; empty: none.
    """
    metric = verification.metric
    score = _shown(measured.get(metric.key), metric.unit)
    latency = measured.get("latency_ms")
    timed = ["batch 1, one thread", *([_plain(latency.source)] if latency and latency.source else [])]
    timed += [f"**{exceeds}, the limit it was searched for**"] if exceeds else []
    rows = [
        (f"{metric.name}, this file", score, f"{verification.images} validation images"),
        (f"{metric.name}, as the search saw it", _shown(predicted.score, metric.unit), ""),
        ("latency, this file", _shown(measured.get("latency_ms"), "ms"), ", ".join(timed)),
        ("latency, as the search saw it", _shown(predicted.latency_ms, "ms"), ""),
        ("multiply-accumulates", f"{predicted.macs / 1e6:.4g} M (exact)", "one image"),
        ("parameters", f"{predicted.params / 1e3:.4g} k (exact)", ""),
    ]
    figures = "\n".join(f"| {what} | {value} | {note} |" for what, value, note in rows)
    come_from = "\n".join(f"- {_plain(key)}: {_plain(value)}" for key, value in origin.items())
    program = f"```python\n{usage}{outputs.usage}\n```\n\n" if usage else ""
    versions = ", ".join(f"{package} {version}" for package, version in environment.get("versions", {}).items())
    return f"""# {_plain(name)}

{outputs.network}, found and cut from a supernet by netwright.

## Figures

| what | value | where |
|---|---|---|
{figures}

Measured and verified on {_plain(environment.get("processor", "an unknown CPU"))} with {versions}.

Against its source network in PyTorch, on {verification.images} real validation images: largest difference of an output
{verification.max_abs_difference:.2g} (largest output {verification.scale:.3g}), {metric.name} with the source's answers as truth {metric.text(verification.agreement)}, {metric.name}
{metric.text(verification.source)} (source) and {metric.text(verification.deployed)} (this file).

## Where it comes from

{come_from}
- architecture: `{arch.to_json()}`
- licence of the training data: not known to netwright. Find out before you pass this model on.

## Input and output

- input `{contract.input_name}`: {contract.preparation.words()}; mean {list(contract.mean)}, std {list(contract.std)}
- output `{contract.output_name}`: {_plain(outputs.meaning)}

## Run it

{program}In Python with netwright, the same network as a plain `torch.nn.Module`: `netwright.load_network("this folder")`.

## Limits

{_capital(metric)} holds for images like those it was trained on; no other test was made. Latency holds for the machine above.
"""


def _capital(metric: Metric) -> str:
    return metric.name[:1].upper() + metric.name[1:]


def _shown(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return "not known"
    error = f", within about {figure.error:.1%}" if figure.error is not None else ""
    return f"{f'{figure.value:.4g} {unit}'.rstrip()} ({figure.kind}{error})"


def _plain(value: object) -> str:
    """Keep a text on one line and free of markup: class names and paths come from outside."""
    text = " ".join(str(value).split())
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return text
