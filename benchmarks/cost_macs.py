"""Multiply-accumulates side by side with the counters that people use: whole networks, single operations, backward passes.

    python benchmarks/cost_macs.py            # two minutes
    python benchmarks/cost_macs.py --quick    # two networks and the single operations

Peers (extra `peers`): torch's FlopCounterMode, fvcore, ptflops, calflops, thop, torchinfo, torchprofile, DeepSpeed; those that are not
installed are listed as absent. The truth of a network is its published dispatch-level count, of an operation the formula
in tests/cost/cases.py. Writes results/cost_macs.json and results/cost_macs.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.cost.count import count  # noqa: E402
from netwright.graph.capture.trace import capture  # noqa: E402
from tests.cost.cases import CASES  # noqa: E402

# Name, input side, multiply-accumulates of convolutions and matrix products, attention by the math kernel.
NETWORKS = (
    ("mobilenetv2_100", 224, 300_774_272),
    ("mobilenetv3_large_100", 224, 216_589_760),
    ("tf_efficientnetv2_s", 384, 8_366_000_000),
    ("efficientvit_b1", 224, 519_214_592),
    ("dm_nfnet_f0", 256, 12_384_000_000),
    ("vit_tiny_patch16_224", 224, 1_254_000_000),
    ("swin_tiny_patch4_window7_224", 224, 4_491_000_000),
)
Row = dict[str, Any]


def _netwright(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    return count(capture(module, *inputs)).macs


def _netwright_as_fvcore(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    return count(capture(module, *inputs), "fvcore").in_convention


def _torch(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 2


def _fvcore(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from fvcore.nn import FlopCountAnalysis  # pyright: ignore[reportMissingImports]

    return FlopCountAnalysis(module, tuple(inputs)).total()


class _ByName(nn.Module):
    """Takes its inputs by name: ptflops gives several no other way."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, **inputs: Tensor) -> Any:
        return self.inner(*inputs.values())


def _ptflops(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from ptflops import get_model_complexity_info  # pyright: ignore[reportMissingImports]

    macs, _ = get_model_complexity_info(
        _ByName(module),
        tuple(inputs[0].shape),
        as_strings=False,
        print_per_layer_stat=False,
        input_constructor=lambda _shape: {f"x{place}": x for place, x in enumerate(inputs)},
    )
    if macs is None:
        raise RuntimeError("gives no number")
    return float(macs)


def _calflops(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from calflops import calculate_flops  # pyright: ignore[reportMissingImports]

    return calculate_flops(module, args=list(inputs), print_results=False, output_as_string=False)[1]


def _thop(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    import thop  # pyright: ignore[reportMissingImports]

    return thop.profile(module, inputs=tuple(inputs), verbose=False)[0]


def _torchinfo(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    import torchinfo  # pyright: ignore[reportMissingImports]

    return torchinfo.summary(module, input_data=list(inputs), verbose=0, device="cpu").total_mult_adds


def _torchprofile(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    import torchprofile  # pyright: ignore[reportMissingImports]

    return float(torchprofile.profile_macs(module, tuple(inputs)))  # pyright: ignore[reportArgumentType]


def _deepspeed(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile  # pyright: ignore[reportMissingImports]

    return get_model_profile(module, args=list(inputs), print_profile=False, as_string=False)[1]


# A counter, the distribution it comes from, and the function that asks it.
COUNTERS: dict[str, tuple[str, Callable[[nn.Module, Sequence[Tensor]], float]]] = {
    "netwright": ("netwright", _netwright),
    "FlopCounterMode": ("torch", _torch),
    "fvcore": ("fvcore", _fvcore),
    "netwright as fvcore": ("netwright", _netwright_as_fvcore),
    "ptflops": ("ptflops", _ptflops),
    "calflops": ("calflops", _calflops),
    "thop": ("thop", _thop),
    "torchinfo": ("torchinfo", _torchinfo),
    "torchprofile": ("torchprofile", _torchprofile),
    "DeepSpeed": ("deepspeed", _deepspeed),
}


def version(name: str) -> str | None:
    """Return the version of the distribution behind a counter; None where it is absent."""
    try:
        return importlib.metadata.version(COUNTERS[name][0])
    except importlib.metadata.PackageNotFoundError:
        return None


def ask(name: str, tasks: Sequence[Row]) -> list[Row]:
    """Let one counter count networks and cases, in eval mode, up to the first failure, after which it may not be itself."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    done: list[Row] = []
    for task in tasks:
        if "side" in task:
            module, inputs = timm.create_model(task["name"]), [torch.zeros(1, 3, task["side"], task["side"])]
        else:
            case = next(case for case in CASES if case.name == task["name"])
            module, inputs = case.module(), [torch.zeros_like(x) for x in case.inputs()]
        started = time.process_time()
        answer = _quietly(COUNTERS[name][1], module.eval(), inputs)
        done.append(task | {"answer": answer, "seconds": round(time.process_time() - started, 2)})
        if isinstance(answer, str):
            break
    return done


def ask_all(name: str, networks: Sequence[tuple[str, int]]) -> Row:
    """Ask one counter everything in a process of its own, a fresh one after each failure: some change torch meanwhile."""
    todo: list[Row] = [{"kind": "networks", "name": network, "side": side} for network, side in networks]
    todo += [{"kind": "cases", "name": case.name} for case in CASES]
    answers: Row = {"networks": {}, "cases": {}, "seconds": {}}
    while todo:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            done = alone.submit(ask, name, todo).result()
        todo = todo[len(done) :]
        for row in done:
            answers[row["kind"]][row["name"]] = row["answer"]
            if row["kind"] == "networks":
                answers["seconds"][row["name"]] = row["seconds"]
    return answers


def _quietly(measure: Callable[..., float], *arguments: Any) -> float | str:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
            return float(measure(*arguments))
    except Exception as error:  # noqa: BLE001 - the table shows what a peer cannot do
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def own_modes() -> list[Row]:
    """Count every case in all the ways it can be captured; each figure over the truth."""
    warnings.simplefilter("ignore")
    rows = []
    for case in CASES:
        module, inputs = case.module().eval(), [torch.zeros_like(x) for x in case.inputs()]
        exported = torch.export.export(module, tuple(inputs)).module()
        joint = count(capture(module, *inputs, trainable=[name for name, _ in module.named_parameters()]))
        forward, backward = (
            sum(work.macs for (stage, _), work in joint.totals.items() if stage == wanted)
            for wanted in ("forward", "backward")
        )
        rows.append(
            {
                "case": case.name,
                "macs": case.forward,
                "backward_macs": case.expected_backward,
                "no_grad": _netwright(module, inputs) / case.forward,
                "grad": forward / case.forward,
                "exported": count(capture(exported, *inputs)).macs / case.forward,
                "backward": _ratio(backward, case.expected_backward),
                "backward_by_torch": _ratio(_torch_backward(module, inputs), case.expected_backward),
            }
        )
    return rows


def _ratio(given: float, true: float) -> float:
    return given / true if true else 1.0 + given


def _torch_backward(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    out = module(*inputs)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    return counter.get_total_flops() / 2


def depthwise_backward() -> Row:
    """Count a depthwise convolution with both gradients: backward over forward, 2 is exact."""
    from torch.utils.flop_counter import FlopCounterMode

    convolution = nn.Conv2d(64, 64, 3, padding=1, groups=64)
    image = torch.zeros(1, 64, 14, 14, requires_grad=True)
    forward = 64 * 9 * 14 * 14
    out = convolution(image)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    scaled = nn.Sequential(nn.Conv2d(64, 64, 1, groups=64), convolution)
    graph = capture(scaled, image.detach(), trainable=["0.bias", "1.weight"])
    ours = sum(work.macs for (stage, _), work in count(graph).totals.items() if stage == "backward")
    return {"netwright": ours / forward, "FlopCounterMode": counter.get_total_flops() / 2 / forward}


def main() -> None:
    """Ask all counters, print and write the results; exit 1 where netwright is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks only")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    networks = [NETWORKS[0], NETWORKS[5]] if options.quick else list(NETWORKS)
    answers: dict[str, Row] = {}
    absent = [name for name in COUNTERS if version(name) is None]
    for name in COUNTERS:
        if name not in absent:
            answers[name] = ask_all(name, [row[:2] for row in networks])
            print(name, answers[name]["networks"], file=sys.stderr, flush=True)
    modes = own_modes()
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "quick": options.quick,
        "versions": {name: version(name) for name in COUNTERS},
        "absent": absent,
        "truth": {"networks": {name: macs for name, _, macs in networks}, "cases": {c.name: c.forward for c in CASES}},
        "answers": answers,
        "own_modes": modes,
        "depthwise_backward_over_forward": depthwise_backward(),
    }
    result["passed"] = _passed(result)
    stem = "cost_macs.quick" if options.quick else "cost_macs"
    save(options.out, stem, result, _markdown(result))
    raise SystemExit(0 if result["passed"] else 1)


def _passed(result: Row) -> bool:
    own, truth = result["answers"]["netwright"], result["truth"]
    ratios = [own[kind][name] / true for kind in ("networks", "cases") for name, true in truth[kind].items()]
    ratios += [row[mode] for row in result["own_modes"] for mode in ("no_grad", "grad", "exported", "backward")]
    return (
        all(abs(ratio - 1) <= 1e-3 for ratio in ratios)
        and result["depthwise_backward_over_forward"]["netwright"] == 2.0
    )


def _markdown(result: Row) -> str:
    machine, answers = result["environment"], result["answers"]
    names = [name for name in answers if name != "netwright as fvcore"]
    lines = [
        f"# Multiply-accumulates, side by side, {result['date']}",
        "",
        f"{machine['processor']}, torch {machine['versions']['torch']}, one thread. What each counter reports over the truth, batch 1, eval mode",
        "without gradients; 1 is right. fvcore counts normalization too, which is its convention.",
        "Versions: "
        + ", ".join(f"{name} {v}" for name, v in result["versions"].items() if v and "as" not in name)
        + ".",
    ]
    if result["absent"]:
        lines += ["Absent here: " + ", ".join(result["absent"]) + "."]
    for kind, title in (("networks", "Networks"), ("cases", "Single operations")):
        lines += ["", f"## {title}", "", f"| | MACs | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
        for name, true in result["truth"][kind].items():
            cells = " | ".join(_cell(answers[counter][kind][name], true) for counter in names)
            lines.append(f"| {name} | {true:,} | {cells} |")
    failures = {
        f"{counter}, {name}: {answer}"
        for counter in names
        for kind in ("networks", "cases")
        for name, answer in answers[counter][kind].items()
        if isinstance(answer, str)
    }
    if failures:
        lines += ["", "Failures:", "", *(f"- {failure}" for failure in sorted(failures))]
    lines += ["", "Processor seconds:", "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name in result["truth"]["networks"]:
        lines.append(f"| {name} | {' | '.join(str(answers[counter]['seconds'][name]) for counter in names)} |")
    return "\n".join(lines + _fvcore_lines(result) + _mode_lines(result)) + "\n"


def _cell(answer: float | str, true: float) -> str:
    return "fails" if isinstance(answer, str) else f"{answer / true:.4g}"


def _fvcore_lines(result: Row) -> list[str]:
    answers = result["answers"]
    if "fvcore" not in answers:
        return []
    lines = ["", '## convention="fvcore" against fvcore', "", "| | fvcore | netwright |", "|---|---|---|"]
    for name in result["truth"]["networks"]:
        pair = (answers[counter]["networks"][name] for counter in ("fvcore", "netwright as fvcore"))
        lines.append(
            f"| {name} | {' | '.join(value if isinstance(value, str) else f'{value:,.0f}' for value in pair)} |"
        )
    return lines


def _mode_lines(result: Row) -> list[str]:
    depthwise = result["depthwise_backward_over_forward"]
    lines = [
        *("", "## netwright in every mode, over the truth", ""),
        "FlopCounterMode's backward counts that fused attention computes its scores again (2.5 times the forward pass).",
        f"A depthwise convolution's backward over its forward pass: netwright {depthwise['netwright']:.4g}, FlopCounterMode "
        f"{depthwise['FlopCounterMode']:.4g}; 2 is exact.",
        *("", "| | MACs | no_grad | grad | exported | backward MACs | backward | FlopCounterMode backward |"),
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["own_modes"]:
        modes = (f"{row[mode]:.4g}" for mode in ("no_grad", "grad", "exported"))
        lines.append(
            f"| {row['case']} | {row['macs']:,} | {' | '.join(modes)} | {row['backward_macs']:,} | {row['backward']:.4g} "
            f"| {row['backward_by_torch']:.4g} |"
        )
    return lines


if __name__ == "__main__":
    main()
