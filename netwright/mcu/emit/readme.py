"""The README of a generated directory: how to call the network, build it, and what it needs."""

from __future__ import annotations

from netwright.mcu.layer import Network
from netwright.mcu.schedule.schedule import Schedule


def readme(network: Network, plan: Schedule, name: str, kernels: tuple[str, ...], weights: str) -> str:
    """Return the text of README.md; `weights`: flash or sram."""
    return f"""# {name} as C

{_example(network)}
Compile `net.c` (it includes the rest) with any C99 compiler and link it to your program:

    arm-none-eabi-gcc -mcpu=cortex-m7 -mthumb -O2 -ffunction-sections -fdata-sections -c net.c
    make && ./net < inputs.bin > outputs.bin          # the same network on this machine

On processors with the DSP extension (Cortex-M4, M7, M33) the compiler chooses the kernels that use it; all others run the
portable ones. Both give the same bits.

| what | bytes |
|---|--:|
| arena (static, `net_arena`; holds the input too) | {plan.arena_bytes:,} |
| input | {_bytes(network, network.inputs):,} |
| output | {_bytes(network, network.outputs):,} |

The stack comes on top, with kernels' blocks of a few hundred bytes on it: about 2 KB; `netwright emulate` measures it.

To place the arena yourself, compile with `-DNET_ARENA_EXTERNAL` and define `int8_t net_arena[NET_ARENA_BYTES]`, aligned to
`NET_ARENA_ALIGNMENT`, in the memory of your choice. {_WEIGHTS[weights]}

Files: `net.h` (what you call), `net.c` (the calls), `net_data.h` (constants), {", ".join(f"`{kernel}`" for kernel in kernels)} (kernels),
`host.c` and `Makefile` (to try it here), `net.json` (what was planned, layer by layer).
"""


_WEIGHTS = {
    "flash": "Weights are `static const` in `net_data.h` and stay in flash.",
    "sram": "Weights are initialised data in `net_data.h`: the start-up code copies them from flash to SRAM.",
}
_STORE = """    static int8_t stored(float real, float scale, int zero_point) {
      long value = lroundf(real / scale) + zero_point;   /* math.h */
      return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
    }
"""


def _example(network: Network) -> str:
    """Return C that stores one real value in each input, runs the network and reads one of each output."""
    lines = ["static int8_t output[NET_OUTPUT_BYTES];"]
    if len(network.inputs) == 1:
        shape = " x ".join(map(str, network.values[network.inputs[0]].shape)) or "1"
        lines += [f"int8_t *input = net_input();           /* {shape}, straight in the arena */"]
    else:
        lines += ["static int8_t input[NET_INPUT_BYTES];  /* one tensor behind the other */"]
    lines += _each(
        network, "INPUT", network.inputs, "input[{at}] = stored(real, NET_{name}_SCALE, NET_{name}_ZERO_POINT);"
    )
    lines += ["net_invoke(input, output);"]
    form = "float real{number} = NET_{name}_SCALE * (float)(output[{at}] - NET_{name}_ZERO_POINT);"
    lines += _each(network, "OUTPUT", network.outputs, form)
    calls = "\n".join(f"    {line}" for line in lines)
    return f'    #include "net.h"\n\n{_STORE}\n{calls}\n'


def _each(network: Network, kind: str, ends: tuple[int, ...], form: str) -> list[str]:
    """Return a line of C for the first element of each input or output."""
    lines, at = [], 0
    for number, value in enumerate(ends):
        name = kind if len(ends) == 1 else f"{kind}{number}"
        lines.append(form.format(at=at, name=name, number=number))
        at += network.values[value].bytes
    return lines


def _bytes(network: Network, ends: tuple[int, ...]) -> int:
    return sum(network.values[value].bytes for value in ends)
