"""Breadth: which modules and files can be captured, and what remains without a price.

    python benchmarks/cost_breadth.py             # a quarter of an hour
    python benchmarks/cost_breadth.py --quick     # a few of each family
    python benchmarks/cost_breadth.py --files FOLDER   # also reads the .tflite, .onnx and .pt2 files in a folder

Families: all models of torchvision; the vision models of Hugging Face transformers, built from their default
configurations, nothing downloaded; networks quantized by torchao and by torch's PT2E flow; timm models exported to ONNX
and as an ExportedProgram, whose MACs must be the module's. A family whose package is not
installed is listed as absent. Modules are built on the meta device. Writes results/cost_breadth.json and .md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import inspect
import io
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.errors import NetwrightError  # noqa: E402 - the checkout first
from netwright.core.files import read_json  # noqa: E402
from netwright.core.run import environment  # noqa: E402
from netwright.cost.count import count  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from netwright.graph.files.read import SUFFIXES, read_graph  # noqa: E402
from netwright.graph.graph import Graph  # noqa: E402
from netwright.runtime.export import export_onnx  # noqa: E402

TIME_LIMIT = 150  # processor seconds for one model
PACKAGES = {
    "torchvision": "torchvision",
    "transformers": "transformers",
    "torchao": "torchao",
    "PT2E": "torchao",
    "exported by timm and read": "timm",
}


@dataclass
class Case:
    """A model to be made and what it is called with; or a graph to be read."""

    family: str
    name: str
    make: Callable[[], nn.Module] | None = None
    inputs: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    read: Callable[[], Graph] | None = None


def image(side: int, batch: int = 1) -> torch.Tensor:
    """Return an image x_BCHW without data."""
    return torch.empty(batch, 3, side, side, device="meta")


def torchvision_models(quick: bool) -> Iterator[Case]:
    """Yield every model of torchvision, at the input that its kind takes."""
    import torchvision

    few = {"resnet18", "swin_t", "deeplabv3_resnet50", "fasterrcnn_mobilenet_v3_large_320_fpn", "raft_small", "r3d_18"}
    for name in torchvision.models.list_models():
        if quick and name not in few:
            continue
        builder = torchvision.models.get_model_builder(name)
        known = inspect.signature(builder).parameters
        settings = {key: None for key in ("weights", "weights_backbone") if key in known}
        inputs: tuple[Any, ...] = (image(299 if "inception" in name else 224),)
        if "detection" in builder.__module__:
            inputs = ([torch.empty(3, 320, 320, device="meta")],)
        elif "video" in builder.__module__:
            side = 224 if name.startswith(("mvit", "swin", "s3d")) else 112
            inputs = (torch.empty(1, 3, 16, side, side, device="meta"),)
        elif "optical_flow" in builder.__module__:
            inputs = (image(128), image(128))
        yield Case("torchvision", name, lambda builder=builder, settings=settings: builder(**settings), inputs)


def transformers_models(quick: bool) -> Iterator[Case]:
    """Yield the vision models of transformers: backbones, classifiers, segmentation, detection, depth."""
    import transformers
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    tasks = (
        "IMAGE_CLASSIFICATION",
        "SEMANTIC_SEGMENTATION",
        "OBJECT_DETECTION",
        "DEPTH_ESTIMATION",
        "UNIVERSAL_SEGMENTATION",
    )
    tasks = (*tasks, "MASK_GENERATION", "IMAGE")
    chosen: dict[str, str] = {"clip_vision_model": "CLIPVisionModel", "sam_vision_model": "SamVisionModel"}
    for task in tasks:
        names: dict[str, Any] = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")
        for kind, classes in names.items():
            chosen.setdefault(kind, classes if isinstance(classes, str) else classes[0])
    few = {"vit", "swin", "convnext", "dinov2", "segformer", "clip_vision_model", "sam", "detr"}
    for kind, name in sorted(chosen.items()):
        if quick and kind not in few:
            continue
        # timm's own models, which the sweep of timm covers; language models that take images; second names of others
        if kind in ("timm_wrapper", "timm_backbone", "cohere2_vision", "shieldgemma2") or kind.endswith("_video"):
            continue

        def make(kind: str = kind, name: str = name) -> nn.Module:
            config = CONFIG_MAPPING[kind]()
            inner = getattr(config, "vision_config", None)
            made = getattr(transformers, name)
            if made.config_class is not None and not isinstance(config, made.config_class) and inner is not None:
                config = inner
            return made(config)

        yield Case("transformers", f"{kind}: {name}", make, keywords={"pixel_values": "of the configuration"})


def input_of(model: Any) -> dict[str, Any]:
    """Return the images that a transformers model takes: of its configuration's size and number of frames."""
    places = [model.config, *(getattr(model.config, name, None) for name in ("vision_config", "backbone_config"))]
    side, channels, frames = 224, 3, 0
    for place in reversed([place for place in places if place is not None]):
        size = getattr(place, "image_size", None)
        side = size if size is not None else side
        channels = getattr(place, "num_channels", channels)
        frames = getattr(place, "num_frames", frames)
    sides_of = {"DepthPro": 1536, "Sam2": 1024, "EdgeTam": 1024, "RfDetr": 560, "PPDocLayout": 800}
    side = next((own for name, own in sides_of.items() if type(model).__name__.startswith(name)), side)
    sides = (side, side) if isinstance(side, int) else tuple(side)[-2:]
    video = frames and type(model).__name__.startswith(("Timesformer", "VideoMAE", "Vivit", "VideoPrism"))
    shape = (1, frames, channels, *sides) if video else (1, channels, *sides)
    whole = {"dtype": torch.long, "device": "meta"}
    if type(model).__name__.startswith("ImageGPT"):
        return {"input_ids": torch.zeros(1, 1024, **whole)}
    if type(model).__name__.startswith("Mllama"):
        tiles = {"aspect_ratio_ids": torch.zeros(1, 1, **whole), "aspect_ratio_mask": torch.ones(1, 1, 4, **whole)}
        return {"pixel_values": torch.empty(1, 1, 4, *shape[1:], device="meta"), **tiles}
    more = {"task_inputs": torch.zeros(1, 77, **whole)} if type(model).__name__.startswith("OneFormer") else {}
    name = model.main_input_name if model.main_input_name == "pixel_values_videos" else "pixel_values"
    return {name: torch.empty(shape, device="meta"), **more}


def small_network() -> nn.Module:
    """Return a network of the parts that quantizers change."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 1, 1, groups=32),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 64),
        nn.GELU(),
        nn.Linear(64, 32),
    ).eval()


def torchao_modules(quick: bool) -> Iterator[Case]:
    """Yield networks whose linear layers torchao's quantize_ has changed."""
    from torchao import quantization as ao

    configs = {
        "int8 weights": ao.Int8WeightOnlyConfig,
        "int8 weights, dynamic int8 activations": ao.Int8DynamicActivationInt8WeightConfig,
        "float8 weights": ao.Float8WeightOnlyConfig,
        "intx weights": ao.IntxWeightOnlyConfig,
        "dynamic int8 activations, intx weights": ao.Int8DynamicActivationIntxWeightConfig,
    }

    def quantized(config: Any, base: Callable[[], nn.Module]) -> nn.Module:
        made = base().eval()
        ao.quantize_(made, config())
        return made

    def vit() -> nn.Module:
        import timm

        return timm.create_model("vit_tiny_patch16_224")

    for name, config in configs.items():
        for label, base in (("small", small_network), ("vit_tiny", vit)):
            if quick and label != "small":
                continue
            side = 32 if label == "small" else 224
            yield Case("torchao", f"{label}, {name}", lambda c=config, b=base: quantized(c, b), (image(side),))


def pt2e_graphs(quick: bool) -> Iterator[Case]:
    """Yield graphs after torch's PT2E flow: exported, calibrated, converted."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        get_default_x86_inductor_quantization_config as settings,
    )

    def make(base: Callable[[], nn.Module], side: int) -> nn.Module:
        torch.manual_seed(0)
        x = torch.randn(1, 3, side, side)
        exported = torch.export.export(base().eval(), (x,)).module()
        quantizer = X86InductorQuantizer()
        quantizer.set_global(settings())
        prepared = prepare_pt2e(exported, quantizer)
        prepared(x)
        return convert_pt2e(prepared)

    def mobilenet() -> nn.Module:
        import timm

        return timm.create_model("mobilenetv2_035")

    for label, base, side in (("small", small_network, 32), ("mobilenetv2_035", mobilenet, 64)):
        if not quick or label == "small":
            yield Case("PT2E", f"{label}, X86InductorQuantizer", lambda b=base, s=side: make(b, s), (image(side),))


def files(folder: Path) -> Iterator[Case]:
    """Yield the files of a folder that can be read."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        yield Case("files", path.name, read=lambda path=path: read_graph(path))


def exported_models(quick: bool) -> Iterator[Case]:
    """Yield timm models, exported to a file and read again; the MACs must be the module's own."""
    import timm

    names = [
        "mobilenetv2_035",
        "mobilenetv3_large_100",
        "efficientvit_b1",
        "vit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224",
    ]
    for name in names[: 1 if quick else None]:
        for suffix in (".onnx", ".pt2"):

            def read(name: str = name, suffix: str = suffix) -> Graph:
                model = timm.create_model(name).eval()
                with tempfile.TemporaryDirectory() as scratch:
                    path = Path(scratch) / f"model{suffix}"
                    if suffix == ".onnx":
                        export_onnx(model, (3, 224, 224), path)
                    else:
                        batch = ({0: torch.export.Dim("batch")},)
                        torch.export.save(
                            torch.export.export(model, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=batch), path
                        )
                    graph = read_graph(path)
                sides = graph.tensors[graph.inputs[0]].shape
                expected, found = count(capture(model, torch.empty(sides, device="meta"))).macs, count(graph).macs
                if found != expected:
                    raise NetwrightError(f"{found:,} MACs read, {expected:,} in the module")
                return graph

            yield Case("exported by timm and read", f"{name}{suffix}", read=read)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Interrupt what takes too long."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"not done within {seconds} s of processor time")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def run(case: Case) -> dict[str, Any]:
    """Capture one case; a reason stands in the place of figures where that fails."""
    row: dict[str, Any] = {"family": case.family, "model": case.name}
    started = time.process_time()
    try:
        with time_limit(TIME_LIMIT), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = case.read() if case.read else _captured(case)
    except NetwrightError as error:
        return row | {"captured": False, "reason": str(error)[:400]}
    except Exception as error:  # noqa: BLE001 - building a stranger's model may fail in any way
        told = " ".join(str(error).split())[:300]
        return row | {"captured": False, "reason": f"not built: {type(error).__name__}: {told}"}
    counts = count(graph)
    return row | {
        "captured": True,
        "source": graph.source,
        "ops": len(graph.ops),
        "macs": counts.macs,
        "params": counts.params,
        "macs_by_dtype": dict(counts.macs_by_dtype),
        "unpriced": [{"kind": one.kind, "share": round(one.share_of_elements, 5)} for one in counts.unpriced],
        "notes": list(graph.notes),
        "cpu_s": round(time.process_time() - started, 2),
    }


def _captured(case: Case) -> Graph:
    assert case.make is not None
    try:
        with torch.device("meta") if case.family in ("torchvision", "transformers") else contextlib.nullcontext():
            model = case.make()
    except (NotImplementedError, RuntimeError):  # its constructor computes with tensors
        model = case.make()
    keywords = input_of(model) if case.family == "transformers" else case.keywords
    try:
        return capture(model, *case.inputs, keywords=keywords)
    except NetwrightError as error:
        reason = _itself(case)
        if reason:
            raise NetwrightError(f"It does not run by itself either: {reason}") from error
        raise


def _itself(case: Case) -> str:
    """Run a model as it is, on the processor and zeros; return what it raises, if it does."""
    assert case.make is not None
    try:
        model = case.make().eval()
        keywords = input_of(model) if case.family == "transformers" else case.keywords
        inputs, keywords = tree_map(lambda value: torch.zeros_like(value, device="cpu"), (case.inputs, keywords))
        with torch.no_grad():
            model(*inputs, **keywords)
    except TimeoutError:
        return ""
    except Exception as own:  # noqa: BLE001 - what a stranger's module raises
        return f"{type(own).__name__}: {' '.join(str(own).split())[:200]}"
    return ""


def main() -> None:
    """Run all families, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few of each family")
    parser.add_argument("--family", action="append", help="only this one, others stay as they were; repeatable")
    parser.add_argument("--match", default="", help="only models whose name holds this")
    parser.add_argument("--files", type=Path, help="folder with .tflite, .onnx and .pt2 files")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    families = {
        "torchvision": torchvision_models,
        "transformers": transformers_models,
        "torchao": torchao_modules,
        "PT2E": pt2e_graphs,
        "exported by timm and read": exported_models,
    }
    stem = "cost_breadth.quick" if options.quick else "cost_breadth"
    rows, absent = _kept(options.out / f"{stem}.json", options.family), []
    for family, cases in families.items():
        if options.family and family not in options.family:
            continue
        if importlib.util.find_spec(PACKAGES[family]) is None:
            absent.append(f"{family}: the package {PACKAGES[family]} is not installed")
            continue
        rows += [_told(run(case)) for case in cases(options.quick) if options.match in case.name]
    if options.files:
        rows += [_told(run(case)) for case in files(options.files)]
    versions = {name: metadata.version(name) for name in set(PACKAGES.values()) if importlib.util.find_spec(name)}
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "versions": versions,
        "quick": options.quick,
        "absent": absent,
        "rows": rows,
    }
    save(options.out, stem, result, _markdown(result))


def _kept(path: Path, families: list[str] | None) -> list[dict[str, Any]]:
    """Return the rows of earlier runs of families that are not asked for again."""
    if not families or not path.is_file():
        return []
    return [row for row in read_json(path)["rows"] if row["family"] not in families]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    print({key: row[key] for key in row if key not in ("notes", "macs_by_dtype")}, file=sys.stderr, flush=True)
    return row


def _markdown(result: dict[str, Any]) -> str:
    machine, rows = result["environment"], result["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    tried, captured = Counter(row["family"] for row in rows), Counter(row["family"] for row in rows if row["captured"])
    lines = [
        f"# Breadth of capture, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, {versions}; one thread.",
        "A model captured on random numbers looks at values while it runs; how much it does then depends on them.",
        "",
        "| family | tried | captured | on random numbers | without any unpriced operation | median CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for family in tried:
        mine = [row for row in rows if row["family"] == family and row["captured"]]
        times = sorted(row["cpu_s"] for row in mine)
        lines.append(
            f"| {family} | {tried[family]} | {captured[family]} | {sum(row['source'] == 'values' for row in mine)} "
            f"| {sum(not row['unpriced'] for row in mine)} | {times[len(times) // 2] if times else '-'} |"
        )
    lines += [f"\nAbsent: {one}." for one in result["absent"]]
    failed = [row for row in rows if not row["captured"]]
    if failed:
        lines += ["", "Not captured:", ""]
        lines += [f"- {row['family']} {row['model']}: {row['reason']}" for row in failed]
    kinds: dict[str, list[float]] = {}
    for row in rows:
        for one in row.get("unpriced", ()):
            kinds.setdefault(one["kind"], []).append(one["share"])
    if kinds:
        lines += ["", "Operations without a price, models that have them, largest share of elements in one:", ""]
        lines += [f"- {kind}: {len(shares)}, {max(shares):.2%}" for kind, shares in sorted(kinds.items())]
    lines += ["", "| family | model | ops | MMACs | M parameters | source |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['family']} | {row['model']} | {row['ops']} | {row['macs'] / 1e6:,.1f} | {row['params'] / 1e6:.2f} | {row['source']} |"
        for row in rows
        if row["captured"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
