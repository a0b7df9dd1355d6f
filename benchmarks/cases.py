"""Small files that once failed, with the right values: case, right, got.

    make cases DATA=path/to/data       # or NETWRIGHT_DATA=path/to/data python benchmarks/cases.py

The folder `cases` of the data, or the data itself, holds NAME.tflite and NAME.npz (in0, out0: inputs and outputs of TensorFlow
Lite's reference kernels, one run a row) and zip archives of class folders. A network is compiled to C, proven on random inputs,
and run on those of its .npz, by the interpreter and as C. An archive must hold the images of its copy without the "./" before
every name. Ends with 1 where something is not right.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from netwright.core.errors import NetwrightError  # noqa: E402 - the checkout first
from netwright.data.load import load_dataset  # noqa: E402
from netwright.graph.files.tflite import load_tflite  # noqa: E402
from netwright.graph.integers.interpret import interpret  # noqa: E402
from netwright.mcu.compile import compile_network  # noqa: E402
from netwright.mcu.run.host import build_host  # noqa: E402

Row = tuple[str, str, str, bool]  # case, right, got, whether they agree


def cases_folder() -> Path | None:
    """Return the folder of the cases that NETWRIGHT_DATA leads to, None where there is none."""
    data = Path(os.environ.get("NETWRIGHT_DATA", "none"))
    found = [folder for folder in (data / "cases", data.parent / "cases", data) if any(folder.glob("*.tflite"))]
    return found[0] if found else None


def network_case(path: Path) -> Row:
    """Compile a network, and hold what it makes of its inputs against its outputs."""
    right = "compiles"
    try:
        with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
            model = load_tflite(path)
            compiled = compile_network(model, Path(folder) / "net")
            if not compiled.proven.startswith("equal"):
                return path.name, right, compiled.proven, False
            if not path.with_suffix(".npz").is_file():
                return path.name, right, "compiles, proven", True
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
                x, y = arrays["in0"], arrays["out0"]
            right = f"{len(x)} outputs equal"
            alone = np.stack([interpret(model, [one])[0] for one in x])
            in_c = build_host(Path(folder) / "net").run(x.reshape(len(x), -1))
            same = [
                int((found.reshape(len(y), -1) == y.reshape(len(y), -1)).all(axis=1).sum()) for found in (alone, in_c)
            ]
    except NetwrightError as error:
        return path.name, right, " ".join(str(error).split())[:120], False
    return path.name, right, f"{same[0]} equal, {same[1]} as C", same == [len(x), len(x)]


def archive_case(path: Path) -> Row:
    """Read a zip archive, and the same one without "./" before its names."""
    right = "the images of the plain names"
    try:
        with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
            plain = Path(folder) / path.name
            with zipfile.ZipFile(path) as given, zipfile.ZipFile(plain, "w") as made:
                for info in given.infolist():
                    if not info.is_dir():
                        made.writestr(re.sub(r"^(\./|/)+", "", info.filename), given.read(info))
            wanted, found = (load_dataset(str(one), size=32) for one in (plain, path))
            same = all(
                torch.equal(getattr(found, part).images_NCHW, getattr(wanted, part).images_NCHW)
                and torch.equal(getattr(found, part).labels_N, getattr(wanted, part).labels_N)
                for part in ("train", "val")
            )
    except (NetwrightError, KeyError) as error:
        return path.name, right, " ".join(repr(error).split())[:120], False
    return path.name, right, "the same images" if same else "other images", same


def rows(folder: Path) -> list[Row]:
    """Return what became of every case."""
    found = [network_case(path) for path in sorted(folder.glob("*.tflite"))]
    return found + [archive_case(path) for path in sorted(folder.glob("*.zip"))]


def main() -> int:
    """Print the table."""
    folder = cases_folder()
    if folder is None:
        print(
            "Set NETWRIGHT_DATA (make cases DATA=...) to the data's folder, which holds cases/*.tflite.",
            file=sys.stderr,
        )
        return 2
    table = rows(folder)
    widths = [max(len(row[column]) for row in (("case", "right", "got"), *table)) for column in range(3)]
    for case, right, got, *agree in (("case", "right", "got"), *table):
        mark = "" if not agree or agree[0] else "   <- wrong"
        print(f"{case:{widths[0]}}  {right:{widths[1]}}  {got}{mark}")
    return 0 if all(row[3] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
