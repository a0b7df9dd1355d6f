"""Models by a word: a library's name, a space, a run, a function in a file, or a file that holds a graph."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError
from netwright.core.tables import is_own, load_own

if TYPE_CHECKING:
    from torch import nn

    from netwright.graph.graph import Graph
    from netwright.models.arch import Arch
    from netwright.models.family import Family
    from netwright.models.own_space import GivenSpace

GRAPH_FILES = (".tflite", ".onnx", ".pt2")
KNOWN = (
    "a timm model (efficientvit_b1), torchvision:NAME, hf:DIRECTORY with a config.json, a space or a run with an architecture "
    "(tiny:smallest, runs/c10:best), FILE.py:FUNCTION that returns a module, or a .tflite, .onnx or .pt2 file"
)


@dataclass(frozen=True)
class Model:
    """A module on the meta device or a graph from a file, and the input it is made for, where that is known."""

    name: str
    made: nn.Module | Graph
    input: tuple[int, ...] | None = None


def read_model(
    text: str,
    *,
    shape: tuple[int, ...] | None = None,
    shapes: Sequence[tuple[int, ...]] = (),
    real: bool = False,
    space: GivenSpace | None = None,
) -> Model:
    """Return what a word stands for.

    Args:
        text: the word.
        shape: the asked input, for spaces that are built for a size.
        shapes: of all inputs, for a file that leaves them free.
        real: with weights in memory (random ones, where the name alone is given), so that the module can run.
        space: a space of one's own: then a word such as smallest, or a JSON file, names an architecture of it; it is also
            given to a run.

    Raises:
        NetwrightError: nothing of that name, or it cannot be built.
    """
    path = Path(text)
    if path.suffix in GRAPH_FILES:
        from netwright.graph.files.read import read_graph

        return Model(text, read_graph(path, shapes=shapes))
    head, _, tail = text.partition(":")
    if is_own(text):
        return _from_python(Path(head), tail)
    if head == "torchvision":
        return _from_torchvision(tail, real)
    if head == "hf":
        return _from_hugging_face(Path(tail), real)
    if (Path(head) / "config.json").is_file():
        return _from_run(Path(head), tail or "best", text, real, space)
    if space is not None:
        return _from_space(space, text, shape, text, real)
    from netwright.models.families import SPACES

    if head in SPACES:
        return _from_space(head, tail or "largest", shape, text, real)
    return _from_timm(text, real)


def _place(real: bool) -> Any:
    import torch

    return torch.device("cpu" if real else "meta")


def _from_timm(name: str, real: bool) -> Model:
    import timm

    if not timm.is_model(name):
        raise _unknown_model(name, timm.list_models())
    with _place(real):
        made = timm.create_model(name)
    pretrained: Any = made.pretrained_cfg
    return Model(name, made, (1, *pretrained["input_size"]))


def _unknown_model(name: str, names: Iterable[str]) -> NetwrightError:
    near = difflib.get_close_matches(name, names, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return NetwrightError(f"There is no model {name!r}.{hint} Allowed: {KNOWN}.")


def _from_torchvision(name: str, real: bool) -> Model:
    import torchvision

    allowed = torchvision.models.list_models()
    if name not in allowed:
        raise _unknown_model(name, allowed)
    with _place(real):
        made = torchvision.models.get_model(name, weights=None, **_no_backbone(name))
    return Model(f"torchvision:{name}", made, (1, 3, 224, 224))


def _no_backbone(name: str) -> dict[str, Any]:
    import torchvision

    takes = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    return {"weights_backbone": None} if "weights_backbone" in takes else {}


def _from_hugging_face(path: Path, real: bool) -> Model:
    """Build a model from its config alone; no weights are read and no code of the directory is run."""
    if importlib.util.find_spec("transformers") is None:
        raise NetwrightError("hf:DIRECTORY needs the package transformers: pip install transformers.")
    folder = path.parent if path.name == "config.json" else path
    if not (folder / "config.json").is_file():
        raise NetwrightError(
            f"{path} holds no config.json. hf: takes a directory in which a Hugging Face model was saved."
        )
    transformers = importlib.import_module("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with _place(real):
            made = transformers.AutoModel.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise NetwrightError(f"{folder} cannot be built: {' '.join(str(error).split())[:300]}") from error
    side = getattr(config, "image_size", None)
    sides = side if isinstance(side, list | tuple) else [side] * 2
    shape = [1, getattr(config, "num_channels", 3), *sides]
    return Model(folder.name, made, tuple(shape) if None not in shape else None)


def _from_python(path: Path, function: str) -> Model:
    if not path.is_file():
        raise NetwrightError(f"There is no file {path}. Allowed: {KNOWN}.")
    if not function:
        raise NetwrightError(f"Which function of {path} makes the module? Write {path}:NAME.")
    from torch import nn

    found = load_own(f"{path}:{function}")
    try:
        made = found()
    except NetwrightError:
        raise
    except (Exception, SystemExit) as error:
        raise NetwrightError(f"{path}:{function} failed with {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise NetwrightError(f"{path}:{function} returned {type(made).__name__}; a torch.nn.Module is needed.")
    return Model(function, made)


def _from_space(space: GivenSpace, arch: str, shape: tuple[int, ...] | None, name: str, real: bool) -> Model:
    from netwright.models.own_space import make_family
    from netwright.workflow.archs import read_arch

    made = make_family(space, size=shape[-1] if shape else None)
    return _from_family(made, read_arch(made, arch), name, real)


def _from_run(path: Path, arch: str, name: str, real: bool, space: GivenSpace | None) -> Model:
    from netwright.workflow.archs import choose
    from netwright.workflow.open import open_run

    run = open_run(path, space=space)
    chosen, _ = choose(run, arch)
    return _from_family(run.family, chosen, name, real)


def _from_family(made: Family, arch: Arch, name: str, real: bool) -> Model:
    with _place(real):
        return Model(name, made.build(arch), (1, 3, arch.resolution, arch.resolution))


def read_shape(text: str) -> tuple[tuple[int, ...], str]:
    """Return shape and type of an input such as 1x3x224x224 or 1x77:int64.

    Raises:
        NetwrightError: not written so.
    """
    sides, _, dtype = text.partition(":")
    parts = sides.lower().split("x")
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**31 for part in parts):
        raise NetwrightError(
            f"--input {text!r} is not a shape. Write it like 1x3x224x224, or 1x77:int64 for whole numbers."
        )
    return tuple(int(part) for part in parts), dtype or "float32"
