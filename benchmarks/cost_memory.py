"""Peak memory of inference: three rules against ExecuTorch's own plan and against what PyTorch's profiler shows.

    python benchmarks/cost_memory.py            # ten networks, fp32 and int8, a quarter of an hour
    python benchmarks/cost_memory.py --quick    # three small ones

ExecuTorch (packages executorch and torchao) plans the program that `to_edge(export(...)).to_executorch()` makes: in fp32 from the
network as it is, in int8 after PT2E quantization with its XNNPACKQuantizer, lowered to its portable kernels. On ten networks
that lower to integer kernels from end to end, it plans these too: its Cortex-M backend, after PT2E quantization with that
backend's quantizer (package tosa-tools). The profiler's figure is the largest sum of the
allocator's events (profile_memory) during one eager call after a first one, without gradients, one thread, the caller's input
and the weights not among them. Writes results/cost_memory.json and .md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.real_memory import allocator_peak  # noqa: E402
from netwright.core.files import write_json  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.memory.inference import inference_memory  # noqa: E402
from netwright.cost.memory.workspace import convolution_workspace  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from netwright.graph.graph import Graph  # noqa: E402

NETWORKS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "mobilenetv2_100": (timm.create_model, 224),
    "mobilenetv3_large_100": (timm.create_model, 224),
    "tf_efficientnetv2_s": (timm.create_model, 384),
    "efficientvit_b1": (timm.create_model, 224),
    "dm_nfnet_f0": (timm.create_model, 256),
    "vit_tiny_patch16_224": (timm.create_model, 224),
    "swin_tiny_patch4_window7_224": (timm.create_model, 224),
    "resnet18": (torchvision.models.get_model, 224),
    "densenet121": (torchvision.models.get_model, 224),
    "shufflenet_v2_x1_0": (torchvision.models.get_model, 224),
}
INTEGER: dict[str, Callable[..., nn.Module]] = {
    "mobilenetv2_100": timm.create_model,
    "mobilenetv3_large_100": timm.create_model,
    "mobilenetv3_small_100": timm.create_model,
    "efficientnet_lite0": timm.create_model,
    "fbnetc_100": timm.create_model,
    "resnet18": torchvision.models.get_model,
    "resnet50": torchvision.models.get_model,
    "mnasnet1_0": torchvision.models.get_model,
    "regnet_x_400mf": torchvision.models.get_model,
    "shufflenet_v2_x1_0": torchvision.models.get_model,
}
QUICK = ("mobilenetv2_100", "vit_tiny_patch16_224", "resnet18")
PEERS = ("executorch", "torchao", "tosa_serializer")
LIMITS = {"executorch": 0.05, "eager": 0.10}


def lanes() -> int:
    """Return how many floats fill a vector register of this processor."""
    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


def profiled_peak(module: nn.Module, x_BCHW: Tensor) -> int:
    """Return the allocator's peak in bytes during one call, after another that warms up."""
    with torch.no_grad():
        module(x_BCHW)
        return allocator_peak(lambda: module(x_BCHW))


def planned_bytes(edge: Any) -> int:
    """Return the bytes of memory that ExecuTorch plans for an edge program's values that change."""
    from executorch.exir import ExecutorchBackendConfig  # pyright: ignore[reportMissingImports]

    program = edge.to_executorch(ExecutorchBackendConfig()).executorch_program
    return sum(sum(plan.non_const_buffer_sizes) for plan in program.execution_plan)


def executorch_fp32(module: nn.Module, x_BCHW: Tensor) -> int:
    """Return ExecuTorch's plan of a network as it is."""
    from executorch.exir import to_edge  # pyright: ignore[reportMissingImports]

    return planned_bytes(to_edge(torch.export.export(module, (x_BCHW,))))


def quantized(module: nn.Module, x_BCHW: Tensor, quantizer: Any) -> torch.export.ExportedProgram:
    """Return the exported program of a network quantized with PT2E, calibrated on one input."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # pyright: ignore[reportMissingImports]

    exported = torch.export.export(module, (x_BCHW,)).module(check_guards=False)
    prepared = prepare_pt2e(exported, quantizer)
    with torch.no_grad():
        prepared(x_BCHW)
    return torch.export.export(convert_pt2e(prepared), (x_BCHW,))


def executorch_int8(module: nn.Module, x_BCHW: Tensor) -> tuple[int, Graph]:
    """Return ExecuTorch's plan of the quantized program, and the graph of the program that it was given."""
    import executorch.kernels.quantized  # noqa: F401  # pyright: ignore[reportMissingImports] - registers operations
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # pyright: ignore[reportMissingImports]
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import EdgeCompileConfig, to_edge  # pyright: ignore[reportMissingImports]

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    program = quantized(module, x_BCHW, quantizer)
    graph = capture(program.module(check_guards=False), x_BCHW)
    return planned_bytes(to_edge(program, compile_config=EdgeCompileConfig(_check_ir_validity=False))), graph


def executorch_cortex_m(module: nn.Module, x_BCHW: Tensor) -> int | None:
    """Return ExecuTorch's plan for integer kernels; None where parts of the network stay floating point."""
    from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config  # pyright: ignore[reportMissingImports]
    from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager  # pyright: ignore[reportMissingImports]
    from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer  # pyright: ignore[reportMissingImports]
    from executorch.backends.cortex_m.target_config import CortexM, CortexMTargetConfig  # pyright: ignore[reportMissingImports]
    from executorch.exir import to_edge  # pyright: ignore[reportMissingImports]

    x_BCHW = x_BCHW.to(memory_format=torch.channels_last)
    program = quantized(module.to(memory_format=torch.channels_last), x_BCHW, CortexMQuantizer())
    edge = to_edge(program, compile_config=cortex_m_edge_compile_config())
    lowered = CortexMPassManager(edge.exported_program(), target_config=CortexMTargetConfig(cpu=CortexM.M7)).transform()
    calls = [node for node in lowered.graph.nodes if node.op == "call_function"]
    if any(_is_float(node.meta.get("val")) and "quantize" not in str(node.target) for node in calls):
        return None
    edge._edge_programs["forward"] = lowered
    return planned_bytes(edge)


def _is_float(value: Any) -> bool:
    values = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(one, Tensor) and one.is_floating_point() for one in values)


def ours(graph: Graph) -> dict[str, Any]:
    """Return what the three rules say of a graph, and how long that took."""
    started = time.perf_counter()
    planned, eager = inference_memory(graph), inference_memory(graph, rules="eager")
    seconds = time.perf_counter() - started
    counted = partial(convolution_workspace, threads=1, lanes=lanes())
    return {
        "planned": planned.peak_bytes,
        "planned_arena": planned.arena_bytes,
        "planned_lower_bound": planned.lower_bound_bytes,
        "planned_bound_kind": planned.lower_bound_kind,
        "planned_int8": inference_memory(graph, dtype="int8").arena_bytes,
        "eager_tensors": eager.peak_bytes,
        "eager": inference_memory(graph, rules="eager", workspace=counted).peak_bytes,
        "executorch": inference_memory(graph, rules="executorch").arena_bytes,
        "seconds_planned_and_eager": round(seconds, 3),
    }


def measure(name: str, absent: list[str]) -> dict[str, Any]:
    """Return every figure of one network in bytes."""
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    module, x_BCHW = make(name).eval(), torch.randn(1, 3, size, size)
    row: dict[str, Any] = {"network": name, "pixels": size, **ours(capture(module, x_BCHW))}
    row["profiler"] = profiled_peak(module, x_BCHW)
    if not {"executorch", "torchao"} & set(absent):
        with _quiet():
            row["executorch_fp32_plan"] = executorch_fp32(module, x_BCHW)
            row["executorch_int8_plan"], graph = executorch_int8(module, x_BCHW)
            row["executorch_int8"] = inference_memory(graph, rules="executorch").arena_bytes
    return row | {"deviations": deviations(row)}


def measure_integer(name: str) -> dict[str, Any]:
    """Return the plan of a network's integer kernels, predicted and ExecuTorch's, and the planned arena, in bytes."""
    torch.manual_seed(0)
    module, x_BCHW = INTEGER[name](name).eval(), torch.randn(1, 3, 224, 224)
    graph = capture(module, x_BCHW)
    with _quiet():
        plan = executorch_cortex_m(module, x_BCHW)
    predicted = inference_memory(graph, rules="executorch", dtype="int8").arena_bytes
    return {
        "network": name,
        "pixels": 224,
        "executorch_plan": plan,
        "executorch": predicted,
        "deviations": {"executorch": predicted / plan - 1 if plan and predicted else None},
        "planned_arena": inference_memory(graph, dtype="int8").arena_bytes,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def deviations(row: dict[str, Any]) -> dict[str, float | None]:
    """Return how far each predicted figure lies from the measured one, as a share of that."""
    pairs = {
        "executorch_fp32": ("executorch", "executorch_fp32_plan"),
        "executorch_int8": ("executorch_int8", "executorch_int8_plan"),
        "eager": ("eager", "profiler"),
    }
    return {
        key: row[predicted] / row[measured] - 1 if row.get(measured) else None
        for key, (predicted, measured) in pairs.items()
    }


def main() -> None:
    """Measure all networks, print and write the results; exit 1 if a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three small networks")
    parser.add_argument("--only", nargs="+", help="these networks")
    parser.add_argument("--resume", action="store_true", help="keep what OUT/cost_memory.parts holds of an earlier run")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    absent = [name for name in PEERS if importlib.util.find_spec(name) is None]
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "peers": {name: _version(name) for name in PEERS},
        "processor_vectors": torch.backends.cpu.get_cpu_capability(),
        "quick": options.quick,
        "limits": LIMITS,
        "passed": False,
        "networks": [],
        "integer": [],
    }
    path = options.out / f"cost_memory{'.quick' if options.quick else ''}.json"
    (options.out / "cost_memory.parts").mkdir(parents=True, exist_ok=True)
    for section, names in (("networks", NETWORKS), ("integer", INTEGER if not absent else ())):
        for name in names:
            if name in (options.only or (QUICK if options.quick else names)):
                part = options.out / "cost_memory.parts" / f"{section}-{name}.json"
                if not (options.resume and part.exists()):
                    write_json(part, measure(name, absent) if section == "networks" else measure_integer(name))
                result[section].append(json.loads(part.read_text()))
                print(result[section][-1], file=sys.stderr, flush=True)
    result["passed"] = all(
        value is None or abs(value) <= LIMITS[key.partition("_")[0]]
        for row in result["networks"] + result["integer"]
        for key, value in row["deviations"].items()
    )
    write_json(path, result)
    path.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    package = {"tosa_serializer": "tosa-tools"}.get(name, name)
    return importlib.metadata.version(package)


def _mb(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f} %"


def markdown(result: dict[str, Any]) -> str:
    """Return the tables, in MB of a million bytes."""
    machine = result["environment"]
    peers = ", ".join(f"{name} {version or 'absent'}" for name, version in result["peers"].items())
    lines = [
        f"# Peak memory of inference, {result['date']}",
        "",
        f"{machine['processor']} ({result['processor_vectors']}), torch {machine['versions']['torch']}, one thread; {peers}. Batch 1,",
        "activations only, MB of a million bytes. How each is measured: the docstring of `benchmarks/cost_memory.py`.",
        "",
        "## Predicted against ExecuTorch's own memory plan and PyTorch's profiler",
        "",
        "| network | pixels | ExecuTorch fp32: plan | predicted | off | int8 (PT2E): plan | predicted | off "
        "| eager: profiler | predicted | off | of that tensors |",
        "|---|" + "--|" * 11,
    ]
    for row in result["networks"]:
        off = row["deviations"]
        lines.append(
            f"| {row['network']} | {row['pixels']} | {_mb(row.get('executorch_fp32_plan'))} | {_mb(row['executorch'])} "
            f"| {_percent(off['executorch_fp32'])} | {_mb(row.get('executorch_int8_plan'))} "
            f"| {_mb(row.get('executorch_int8'))} | {_percent(off['executorch_int8'])} | {_mb(row['profiler'])} "
            f"| {_mb(row['eager'])} | {_percent(off['eager'])} | {_mb(row['eager_tensors'])} |"
        )
    lines += [
        "",
        "ExecuTorch's int8 programs for its portable kernels dequantize all weights first, so they need more memory than fp32.",
        "Predicted eager figures are tensors and what convolutions allocate besides them (`cost/memory/workspace.py`).",
        "",
        "## What a planning compiler needs",
        "",
        "BatchNorm folded, elementwise operations in place, the input among the values. Least: what every order of the operations",
        "needs, proven; an order that needs no more was found where it says so. Seconds: for these and for eager.",
        "",
        "| network | peak | arena | over peak | least over all orders | reached | s | arena in int8 |",
        "|---|" + "--|" * 7,
    ]
    for row in result["networks"]:
        reached = "yes" if row["planned_bound_kind"].startswith("reached") else "not known"
        lines.append(
            f"| {row['network']} | {_mb(row['planned'])} | {_mb(row['planned_arena'])} "
            f"| {_percent(row['planned_arena'] / row['planned'] - 1)} | {_mb(row['planned_lower_bound'])} | {reached} "
            f"| {row['seconds_planned_and_eager']} | {_mb(row['planned_int8'])} |"
        )
    lines += [
        "",
        "## Integer kernels: ExecuTorch's Cortex-M backend",
        "",
        "Predicted without the scratch that some kernels take. The last column: in place, for one byte an element.",
        "",
        "| network | plan | predicted | off | arena planned here |",
        "|---|" + "--|" * 4,
    ]
    lines += [
        f"| {row['network']} | {_mb(row['executorch_plan'])} | {_mb(row['executorch'])} "
        f"| {_percent(row['deviations']['executorch'])} | {_mb(row['planned_arena'])} |"
        for row in result["integer"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
