"""Hand-written networks that obey the generated code's interface, and the reasons why a test cannot run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from netwright.mcu.run.emulate import TOOLS
from netwright.mcu.run.toolchain import missing

emulated = pytest.mark.skipif(bool(missing(*TOOLS)), reason=f"emulation: {missing(*TOOLS)}")


def compiled_with(compiler: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(missing(compiler)), reason=f"host C: {missing(compiler)}")


HEADER = """#ifndef NET_H
#define NET_H
#include <stdint.h>
#define NET_INPUT_BYTES {inputs}
#define NET_OUTPUT_BYTES {outputs}
#define NET_ARENA_BYTES {arena}
int8_t *net_input(void);
void net_invoke(const int8_t *input, int8_t *output);
#endif
"""
BODY = """#include "net.h"
static int8_t arena[NET_ARENA_BYTES];
{globals}
int8_t *net_input(void) {{ return arena; }}
void net_invoke(const int8_t *input, int8_t *output) {{
{body}
}}
"""
NEGATE = "  for (int32_t i = 0; i < NET_OUTPUT_BYTES; i++) {\n    output[i] = (int8_t)(-1 - input[i]);\n  }"


def write_toy(
    folder: Path, body: str = NEGATE, *, outside: str = "", inputs: int = 4, outputs: int = 4, arena: int = 16
) -> Path:
    """Write net.h and net.c, by default of the network that complements every bit."""
    (folder / "net.h").write_text(HEADER.format(inputs=inputs, outputs=outputs, arena=arena))
    (folder / "net.c").write_text(BODY.format(globals=outside, body=body))
    return folder
