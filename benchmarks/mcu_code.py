"""Code bytes of generated networks by kernel header: where the table in netwright/mcu/price/sizes.py comes from.

    python benchmarks/mcu_code.py DIRECTORY    # every .tflite and layer list there, and small MobileNets

Needs arm-none-eabi-gcc (-O2, Cortex-M7). Each function of the linked program is counted with the header that defines it;
functions of net.c itself are counted a layer. Writes results/mcu_code.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import save  # noqa: E402 - the checkout first
from netwright.core.run import environment  # noqa: E402
from netwright.graph.files.layer_list import read_layer_list  # noqa: E402
from netwright.graph.files.tflite import load_tflite  # noqa: E402
from netwright.mcu.compile import compile_network  # noqa: E402
from netwright.mcu.price.sizes import predicted_code_bytes  # noqa: E402
from netwright.mcu.run.emulate import build_elf, flash_of  # noqa: E402
from netwright.mcu.run.toolchain import call  # noqa: E402

_FUNCTION = re.compile(r"\b(nw_\w+)\(")
_INDENTED = re.compile(r"^[ #].*$", re.MULTILINE)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    asked = parser.parse_args()
    found: dict[str, list[int]] = defaultdict(list)
    a_layer, networks = [], []
    for path in sorted([*asked.directory.glob("*.tflite"), *asked.directory.glob("*.json")]):
        model = read_layer_list(path) if path.suffix == ".json" else load_tflite(path)
        for mode in ("layers", "stream"):
            with tempfile.TemporaryDirectory() as folder:
                compiled = compile_network(model, Path(folder) / "net", mode=mode)
                elf = build_elf(compiled.directory, cpu="cortex-m7", folder=Path(folder))
                by_header, rest = counted(compiled.directory, elf)
                for header, size in by_header.items():
                    found[header].append(size)
                layers = len(compiled.network.layers)
                a_layer.append(rest / layers)
                real, said = flash_of(elf)[0], predicted_code_bytes(by_header, layers)
                networks.append({"file": path.name, "schedule": mode, "code_bytes": real, "predicted": said})
    result = {
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "headers": {header: round(mean(sizes)) for header, sizes in sorted(found.items())},
        "a_layer": round(mean(a_layer)),
        "networks": networks,
    }
    rows = [f"| {header} | {size:,} |" for header, size in result["headers"].items()]
    rows += [
        f"| net.c, a layer | {result['a_layer']} |",
        "",
        "| network | schedule | code | predicted |",
        "|---|---|--:|--:|",
    ]
    rows += [f"| {n['file']} | {n['schedule']} | {n['code_bytes']:,} | {n['predicted']:,} |" for n in networks]
    head = [
        f"# Code by kernel header ({result['date']})",
        "",
        "arm-none-eabi-gcc -O2, Cortex-M7; means over networks.",
        "",
    ]
    save(asked.out, "mcu_code", result, "\n".join([*head, "| header | bytes |", "|---|--:|", *rows, ""]))


def counted(directory: Path, elf: Path) -> tuple[dict[str, int], int]:
    """Return bytes of code by header, 0 for one whose functions were all inlined, and those of everything else but the harness."""
    home = {}
    headers = sorted(directory.glob("nw_*.h"), key=lambda header: ("_dsp" not in header.name, header.name))
    for header in headers:  # those in assembly make functions by macros: every name in them is taken for theirs
        text = header.read_text()
        names = re.findall(r"\bnw_\w+", text) if "_dsp" in header.name else _FUNCTION.findall(_INDENTED.sub("", text))
        for name in names:
            home.setdefault(name, header.name)
    sizes = dict.fromkeys((header.name for header in headers), 0)
    total, _ = flash_of(elf)
    for line in call(["arm-none-eabi-nm", "-S", elf]).decode().splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT" and (name := words[3].split(".")[0]) in home:
            sizes[home[name]] += int(words[1], 16)
    return sizes, total - sum(sizes.values())


if __name__ == "__main__":
    main()
