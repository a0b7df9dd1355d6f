"""An int8 network as plain C with static memory, from whatever names or holds one; and that C under emulation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.units import BYTES, parse_quantity
from netwright.workflow.quantizing import HeldOut, Quantizing, of_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from netwright.graph.integers.quantized import QuantizedGraph
    from netwright.mcu.compile import Compiled
    from netwright.mcu.operators.operator import Operator
    from netwright.mcu.operators.table import Given
    from netwright.mcu.run.emulate import Emulation
    from netwright.mcu.run.hotspots import Hotspots
    from netwright.models.own_space import GivenSpace

MODES = ("auto", "layers", "stream", "patch")
WEIGHTS = ("flash", "sram")
DEFAULT = Quantizing()


def compile(
    model: str | Path | QuantizedGraph | nn.Module,
    *,
    out: str | Path,
    cpu: str = "cortex-m7",
    sram: int | str | None = None,
    flash: int | str | None = None,
    schedule: str = "auto",
    weights: str = "flash",
    data: str | Path | Sequence[Tensor] | None = None,
    input: str | None = None,
    emulated: bool = False,
    operators: Given | Iterable[Given] | Mapping[str, Operator] | None = None,
    space: GivenSpace | None = None,
    calibration: int | None = None,
    observer: str | None = None,
    qat: float = 0.0,
    layers: bool = False,
    preparation: Mapping[str, Any] | None = None,
    name: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Compiled:
    """Write a network as C that needs no library and no heap, and prove it on this machine.

    The folder is written also where the network does not fit its limits: see `Compiled.fits` and `Compiled.advice`.

    Args:
        model: a .tflite file, a layer list (.json), a word for a module (timm name, RUN:ARCH, FILE.py:FUNCTION, ...), a
            module, or a graph that is quantized already.
        out: folder for the C files; an earlier result there is replaced.
        cpu: cortex-m3, -m4, -m7, -m33 or -m55.
        sram: limit of static memory in bytes, or as text such as "320KB".
        flash: limit of flash.
        schedule: how memory is saved: auto, layers, stream or patch.
        weights: where they are while the network runs: flash or sram.
        data: images that calibrate a module's activations, a folder or .zip of them; for a module that is given itself,
            batches of its inputs.
        input: the input of a module whose name does not say it: "1x3x32x32".
        emulated: build the program for `emulate` too.
        operators: int8 operators of your own: an `Operator`, several, or FILE.py:NAME.
        space: a run's space again, or the one that `model` names an architecture of, where it is your own.
        calibration: how many images calibrate the activations of a module; 256, if None.
        observer: how their ranges are chosen: minmax, percentile or mse.
        qat: epochs of training with fake quantization on the training data of a run.
        layers: compare with the network in float layer by layer.
        preparation: fields of a `data.preparation.Preparation`, such as {"mean": 0.5, "std": 0.5, "scale": 255}: how images
            become the input of a module, or a .tflite file, that does not say so itself. The C then prepares photographs.
        name: of the network, for comments; its file's, if None.
        note: called with lines that tell the progress.

    Raises:
        NetwrightError: an argument is none of what is allowed, the model cannot be read, quantized or compiled, the folder
            holds something else, or the C differs from the interpreter.
    """
    _check(schedule, weights, cpu)
    limits = [_bytes(given, what) for given, what in ((sram, "--sram"), (flash, "--flash"))]
    from netwright.mcu.compile import check_place, compile_network
    from netwright.mcu.operators.table import own_operators

    check_place(Path(out))
    own = own_operators(operators)
    read, held_out = _read(model, data, input, space, preparation, Quantizing(calibration, observer, qat, layers))
    note(_beside_float(read))
    return compile_network(
        read,
        Path(out),
        name=name or (Path(model).stem if isinstance(model, str | Path) else "net"),
        cpu=cpu,
        sram_bytes=limits[0],
        flash_bytes=limits[1],
        mode=schedule,
        weights="sram" if weights == "sram" else "flash",
        emulated=emulated,
        operators=own,
        checks={} if held_out is None else {"top1": functools.partial(held_out.judge, read)},
        note=note,
    )


def _check(schedule: str, weights: str, cpu: str) -> None:
    from netwright.mcu.run.emulate import BOARDS

    for what, given, allowed in (
        ("Schedule", schedule, MODES),
        ("Place of the weights", weights, WEIGHTS),
        ("CPU", cpu, BOARDS),
    ):
        if given not in allowed:
            raise unknown(what, given, allowed)


def _beside_float(model: QuantizedGraph) -> str:
    found = model.comparison
    return found.describe() if found else "came as integers: there is no network in float to compare with"


def _bytes(given: int | str | None, what: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, str):
        return int(parse_quantity(given, BYTES, what))
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise NetwrightError(f"{what} {given!r} is no number of bytes. Give a whole number, or text such as '320KB'.")
    return given


def _read(
    model: Any,
    data: Any,
    shape: str | None,
    space: GivenSpace | None,
    preparation: Mapping[str, Any] | None,
    how: Quantizing,
) -> tuple[QuantizedGraph, HeldOut | None]:
    """Return the integers, and images held out where the model is a network of a run."""
    run = isinstance(model, str | Path) and (Path(str(model).partition(":")[0]) / "config.json").is_file()
    if run and data is None and shape is None and preparation is None:
        return of_run(str(model), how, space)
    return read_integers(model, data, shape, space=space, how=how, preparation=preparation), None


def read_integers(
    model: str | Path | QuantizedGraph | nn.Module,
    data: str | Path | Sequence[Tensor] | None = None,
    shape: str | None = None,
    *,
    space: GivenSpace | None = None,
    how: Quantizing = DEFAULT,
    preparation: Mapping[str, Any] | None = None,
) -> QuantizedGraph:
    """Return the integer network that a word, a file or a module stands for; a module is quantized with images of `data`.

    `shape`: the input of a module whose name does not say it. `space`: a run's space again, where it is your own.
    `how`: what was asked of it.

    Raises:
        NetwrightError: nothing of that name, or it holds no integers and no images are given to find their ranges.
    """
    if not isinstance(model, str | Path):
        return _with_images(_given_itself(model, data, shape, how), preparation)
    path = Path(model)
    if path.suffix in (".tflite", ".json"):
        if data is not None:
            raise NetwrightError(f"{model} is quantized already: leave --data out.")
        if shape is not None:
            raise NetwrightError(f"{model} says its input itself: leave --input out.")
        if how.asked:
            raise NetwrightError(f"{model} is quantized already: leave {' and '.join(how.asked)} out.")
        if path.suffix == ".json":
            from netwright.graph.files.layer_list import read_layer_list

            return _with_images(read_layer_list(path), preparation)
        from netwright.graph.files.tflite import load_tflite

        return _with_images(load_tflite(path), preparation)
    if path.suffix == ".npz":
        raise NetwrightError(
            f"{model} holds the numbers of a layer list; its structure is the .json beside it. Give "
            f"{path.with_suffix('.json')}, or write it if it is not there."
        )
    if path.suffix in (".onnx", ".pt2"):
        raise NetwrightError(
            f"{model}: `compile` takes .tflite files, layer lists (.json) and PyTorch modules (a timm name, RUN:ARCH, FILE.py:FUNCTION)."
        )
    from netwright.workflow.calibration import quantized_module

    if data is not None and not isinstance(data, str | Path):
        raise NetwrightError(f"{model} is calibrated on images of a folder or .zip: give its path as data.")
    return quantized_module(
        str(model), None if data is None else str(data), shape, space=space, how=how, preparation=preparation
    )


def _with_images(graph: QuantizedGraph, preparation: Mapping[str, Any] | None) -> QuantizedGraph:
    """Note on a graph how images become its input, where that is stated; shapes are [1, height, width, channels] here.

    Raises:
        NetwrightError: the input is no image, or a field that is not allowed.
    """
    from netwright.data.preparation import Preparation

    if preparation is None:
        return graph
    shape = graph.graph.tensors[graph.graph.inputs[0]].shape
    if len(graph.graph.inputs) != 1 or len(shape) != 4 or shape[3] not in (1, 3):
        raise NetwrightError(f"The network takes {shape}: no image of 1 or 3 channels, which could be prepared.")
    channels = {"channels": "grey"} if shape[3] == 1 else {}
    made = Preparation(**{"height": shape[1], "width": shape[2], **channels, **preparation})
    if made.count != shape[3]:
        raise NetwrightError(f"The network takes {shape[3]} channels; {made.channels} has {made.count}.")
    return replace(graph, images={"preparation": made.to_json(), "classes": []})


def _given_itself(
    model: QuantizedGraph | nn.Module, data: str | Path | Sequence[Tensor] | None, shape: str | None, how: Quantizing
) -> QuantizedGraph:
    from netwright.graph.integers.quantized import QuantizedGraph

    if isinstance(model, QuantizedGraph):
        if data is not None or shape is not None:
            raise NetwrightError("A quantized graph says everything itself: leave data and input out.")
        return model
    if not callable(model):
        raise NetwrightError(
            f"A network is given as a file, a word, a module or a quantized graph, not as a {type(model).__name__}."
        )
    if data is None or isinstance(data, str | Path) or shape is not None:
        raise NetwrightError(
            "A module that is given itself is calibrated on batches of its inputs: data=[tensor, ...], and no input."
        )
    return how.quantize(model, list(data))


@dataclass(frozen=True)
class Emulated:
    """Generated C that ran under emulation: on which CPU, what it gave, and where its instructions went if asked.

    `top1`: what `compile` found on images held out, with the same C built for its machine; None where it had none.
    """

    cpu: str
    emulation: Emulation
    hotspots: Hotspots | None = None
    top1: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: what `netwright emulate --json` prints."""
        done = self.emulation
        data: dict[str, Any] = {
            "cpu": self.cpu,
            "runs": len(done.outputs),
            "instructions": int(done.instructions.max()),
            "instructions_least": int(done.instructions.min()),
            "arena_bytes": done.arena_bytes,
            "ram_bytes": done.ram_bytes,
            "stack_bytes": done.stack_bytes,
            "flash_bytes": done.flash_bytes,
            "code_bytes": done.code_bytes,
        }
        if self.top1 is not None:
            data["top1"] = dict(self.top1)
        if self.hotspots is not None:
            for what in ("step", "function"):
                data[f"by_{what}"] = [{what: name, "instructions": total} for name, total in self.hotspots.by(what)]
        return data


def emulate(
    build: str | Path | Compiled,
    *,
    cpu: str = "cortex-m7",
    input: str | Path | NDArray[np.int8] | None = None,
    output: str | Path | None = None,
    optimize: str = "-O2",
    hot: bool = False,
) -> Emulated:
    """Run generated C on an emulated Cortex-M.

    Args:
        build: the folder that `compile` wrote, or what it returned.
        cpu: cortex-m3, -m4, -m7, -m33 or -m55.
        input: int8 inputs, [N, ...], or a file of them, back to back; None: one random input.
        output: file for the int8 outputs.
        optimize: of the compiler: -O1, -O2, -O3 or -Os.
        hot: count also where the instructions of the first input go.

    Raises:
        NetwrightError: no such CPU or optimization, a tool is missing, the folder holds no network, or inputs that do not
            fit it.
    """
    from netwright.core.files import read_json, write_bytes
    from netwright.mcu.compile import MANIFEST, Compiled
    from netwright.mcu.run import emulate as emulation
    from netwright.mcu.run.toolchain import read_inputs

    emulation.check_optimization(optimize)
    folder = build.directory if isinstance(build, Compiled) else Path(build)
    if input is None or isinstance(input, str | Path):
        inputs = read_inputs(folder, None if input is None else Path(input))
    else:
        inputs = input
    done = emulation.emulate(folder, inputs, cpu=cpu, optimize=optimize)
    known = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    top1 = known.get("top1") if isinstance(known, dict) else None
    if output is not None:
        write_bytes(Path(output), done.outputs.tobytes())
    if not hot:
        return Emulated(cpu, done, top1=top1)
    from netwright.mcu.run.hotspots import hotspots

    return Emulated(cpu, done, hotspots(folder, inputs, cpu=cpu, optimize=optimize), top1)
