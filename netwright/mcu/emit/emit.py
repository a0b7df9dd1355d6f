"""The C of a network: net.h, net.c with its constants beside it, and the kernels it uses.

`net_invoke` is one straight line of calls; every address is a constant offset into one static arena.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Literal

from netwright.core.errors import NetwrightError
from netwright.mcu.code import LayerData
from netwright.mcu.emit.readme import readme
from netwright.mcu.emit.stream import segment_code
from netwright.mcu.layer import Network, NetworkValue
from netwright.mcu.run.host import host_files
from netwright.mcu.schedule.schedule import Schedule, Whole

Weights = Literal["flash", "sram"]
ALIGNMENT = 16
_INCLUDE = re.compile(r'^#include "(nw_\w+\.h)"', re.MULTILINE)


@dataclass(frozen=True)
class GeneratedFiles:
    """The files of a generated directory by name; `kernels`: those of them that are kernels."""

    files: dict[str, str]
    kernels: tuple[str, ...]

    def write(self, directory: Path) -> None:
        """Write every file into a directory that need not be there."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (directory / name).write_text(text)


def emit(network: Network, plan: Schedule, *, name: str = "net", weights: Weights = "flash") -> GeneratedFiles:
    """Return the C of a network under a plan. `name`: of the model, for the comments."""
    names = {index: f"l{index}" for index in range(len(network.layers))}
    data = {index: layer.data(network, names[index]) for index, layer in enumerate(network.layers)}
    kernels = {kernel for one in data.values() for kernel in one.kernels}
    functions, calls = [], []
    for number, step in enumerate(plan.steps):
        if isinstance(step, Whole):
            layer = network.layers[step.layer]
            calls.append(f"  /* {_comment(layer.name)} */\n  {_whole(network, plan, step, names[step.layer])}")
        else:
            code = segment_code(network, step, plan.offsets, names, f"s{number}", "arena")
            functions.append(code.text)
            kernels |= code.kernels
            what = ", ".join(_comment(network.layers[index].name) for index in step.layers)
            calls.append(f"  /* row by row: {what} */\n  {code.call}")
    constants = "\n".join(one.text for one in data.values())
    if weights == "sram":  # what is no constant is copied to SRAM at start-up, by the usual start-up code
        constants = re.sub(r"^static const (int(?:8|16|32)_t )", r"static \1", constants, flags=re.MULTILINE)
    own = _own_headers(data.values())
    headers = kernel_files(kernels, own)
    used = tuple(sorted({*headers, *own}))
    files = {
        "net.h": _header(network, plan, name),
        "net.c": _body(network, plan, used, functions, calls),
        "net_data.h": f"/* Constants of {_comment(name)}, weights in the order in which the kernels read them. */\n"
        f"{constants}",
        **{kernel: _kernel(kernel) for kernel in headers},
        **own,
        **host_files(),
        "README.md": readme(network, plan, name, used, weights),
    }
    return GeneratedFiles(files, used)


def kernel_files(kernels: Iterable[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the headers behind kernel names ("conv": nw_conv.h), and those that they and `own` ones include."""
    found: set[str] = set()
    todo = [f"nw_{kernel}.h" for kernel in kernels]
    todo += [file for text in own.values() for file in _INCLUDE.findall(text)]
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += _INCLUDE.findall(_kernel(file))
    return tuple(sorted(found))


def _kernel(file: str) -> str:
    found = resources.files("netwright.mcu") / "kernels" / file
    if not found.is_file():
        raise NetwrightError(f"There is no kernel {file}. An operator's own header must not be called nw_*.h.")
    return found.read_text()


def _own_headers(data: Iterable[LayerData]) -> dict[str, str]:
    """Return the headers that operators bring themselves, texts by file name.

    Raises:
        NetwrightError: a name that is not a header's, that netwright uses itself, or that two texts have; or a file that
            cannot be read.
    """
    found: dict[str, str] = {}
    for file, given in (item for one in data for item in one.headers.items()):
        if not re.fullmatch(r"[A-Za-z0-9_-]+\.h", file) or file.startswith(("nw_", "net.", "net_")):
            raise NetwrightError(
                f"An operator's header is called {file!r}. Allowed: a file name such as mine.h, not nw_*.h, net*.h."
            )
        try:
            text = given.read_text(encoding="utf-8") if isinstance(given, Path) else given
        except (OSError, ValueError) as error:
            raise NetwrightError(f"Cannot read the header {given} of an operator: {error}.") from error
        if found.setdefault(file, text) != text:
            raise NetwrightError(f"Two operators bring different headers called {file}. Rename one.")
    return found


def _whole(network: Network, plan: Schedule, step: Whole, name: str) -> str:
    layer = network.layers[step.layer]
    inputs = [_at(plan.offsets[network.root(value)]) for value in layer.inputs]
    out = _at(plan.offsets[network.root(layer.output)])
    if not step.scratch_bytes:
        return layer.call(network, name, inputs, out, "0")
    if step.scratch >= 0:
        return layer.call(network, name, inputs, out, _at(step.scratch))
    call = layer.call(network, name, inputs, out, "scratch")
    return f"{{\n    int8_t scratch[{step.scratch_bytes}];\n    {call}\n  }}"


def _at(offset: int) -> str:
    return f"(arena + {offset})"


def _comment(text: str) -> str:
    """Return text that cannot end a comment or a line: names come from files."""
    return re.sub(r"[^\w .:,;/()\[\]+-]", "_", text).replace("*/", "_").replace("/*", "_")[:120]


def _header(network: Network, plan: Schedule, name: str) -> str:
    version = metadata.version("netwright")
    sizes = [sum(network.values[value].bytes for value in ends) for ends in (network.inputs, network.outputs)]
    borders = [
        _border(kind, number, network.values[value], len(ends))
        for kind, ends in (("INPUT", network.inputs), ("OUTPUT", network.outputs))
        for number, value in enumerate(ends)
    ]
    return f"""/* {_comment(name)}: an int8 network as C. Written by netwright {version}; change the model, not this file.
 *
 * Takes NET_INPUT_BYTES and gives NET_OUTPUT_BYTES of int8, tensors back to back, height x width x channels. Stored and
 * real values: real = SCALE * (stored - ZERO_POINT). Uses no heap, no library but memcpy and memset, and no memory but
 * the arena and the stack. Not reentrant: one arena, one run at a time. */
#ifndef NET_H
#define NET_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define NET_INPUT_BYTES {sizes[0]}
#define NET_OUTPUT_BYTES {sizes[1]}
#define NET_ARENA_BYTES {plan.arena_bytes}
#define NET_ARENA_ALIGNMENT {ALIGNMENT}

{"".join(borders)}
/* With NET_ARENA_EXTERNAL defined, the caller defines this, aligned to NET_ARENA_ALIGNMENT bytes, in memory of its
 * choice; between two runs it may hold anything. */
extern int8_t net_arena[NET_ARENA_BYTES];

/* Where the input may be written to save a copy; net_invoke overwrites it. 0 of a network with several inputs. */
int8_t *net_input(void);

/* One inference. input: net_input(), or any other NET_INPUT_BYTES outside the arena, which stay as they are.
 * output: NET_OUTPUT_BYTES outside the arena. */
void net_invoke(const int8_t *input, int8_t *output);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _border(kind: str, number: int, value: NetworkValue, count: int) -> str:
    prefix = f"NET_{kind}" if count == 1 else f"NET_{kind}{number}"
    shape = "x".join(map(str, value.shape)) or "1"
    return (
        f"/* {_comment(value.name)}: {shape} of {value.dtype} */\n#define {prefix}_SCALE {_float(value.scale)}\n"
        f"#define {prefix}_ZERO_POINT ({value.zero_point})\n"
    )


def _float(value: float) -> str:
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _body(network: Network, plan: Schedule, kernels: tuple[str, ...], functions: list[str], calls: list[str]) -> str:
    includes = "\n".join(f'#include "{kernel}"' for kernel in kernels)
    takes = _borders(network, plan, network.inputs, "(void)memcpy({at}, {border}, {bytes});", "input")
    gives = _borders(network, plan, network.outputs, "(void)memcpy({border}, {at}, {bytes});", "output")
    first = plan.offsets[network.root(network.inputs[0])]
    together = len(network.inputs) == 1
    steps, made = "\n".join(calls), "\n".join(functions)
    return f"""#include "net.h"

#include <string.h>

{includes}
#include "net_data.h"

#ifndef NET_ARENA_EXTERNAL
#if defined(__GNUC__)
__attribute__((aligned(NET_ARENA_ALIGNMENT)))
#endif
int8_t net_arena[NET_ARENA_BYTES];
#endif

{made}
int8_t *net_input(void) {{ return {f"net_arena + {first}" if together else "0"}; }}

void net_invoke(const int8_t *input, int8_t *output) {{
  int8_t *volatile const place = net_arena; /* read anew: a compiler that knows the address joins the kernels' pointers, */
  int8_t *const arena = place;              /* and gcc 12.2 then takes a kernel for one that writes nothing (-O2, means) */
{_unless_there(takes) if together else takes}
{steps}
{gives}
}}
"""


def _unless_there(copy: str) -> str:
    return f"  if (input != net_input()) {{\n  {copy}\n  }}"


def _borders(network: Network, plan: Schedule, ends: tuple[int, ...], form: str, border: str) -> str:
    lines, start = [], 0
    for value in ends:
        size = network.values[value].bytes
        at = _at(plan.offsets[network.root(value)])
        lines.append("  " + form.format(at=at, border=f"{border} + {start}" if start else border, bytes=size))
        start += size
    return "\n".join(lines)
