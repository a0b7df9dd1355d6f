"""The README of a generated directory: how to call the network, build it, and what it needs."""

from __future__ import annotations

from netwright.mcu.network import Network
from netwright.mcu.schedule import Schedule


def readme(network: Network, plan: Schedule, name: str, kernels: tuple[str, ...]) -> str:
    """Return the text of README.md."""
    value = network.values[network.inputs[0]]
    shape = " x ".join(map(str, value.shape))
    return f"""# {name} as C

    #include "net.h"

    static int8_t output[NET_OUTPUT_BYTES];

    int8_t *image = net_input();           /* {shape} of int8, straight in the arena */
    /* image[i] = (int8_t)(lroundf(real / NET_INPUT_SCALE) + NET_INPUT_ZERO_POINT), kept within -128..127 */
    net_invoke(image, output);
    /* real result i: NET_OUTPUT_SCALE * (output[i] - NET_OUTPUT_ZERO_POINT) */

Compile `net.c` (it includes the rest) with any C99 compiler and link it to your program:

    arm-none-eabi-gcc -mcpu=cortex-m7 -mthumb -O2 -ffunction-sections -fdata-sections -c net.c
    make && ./net < inputs.bin > outputs.bin          # the same network on this machine

On processors with the DSP extension (Cortex-M4, M7, M33) the compiler chooses the kernels that use it; all others run the
portable ones. Both give the same bits.

| what | bytes |
|---|--:|
| arena (static, `net_arena`; holds the input too) | {plan.arena_bytes:,} |
| input | {sum(network.values[v].bytes for v in network.inputs):,} |
| output | {sum(network.values[v].bytes for v in network.outputs):,} |

To place the arena yourself, compile with `-DNET_ARENA_EXTERNAL` and define `int8_t net_arena[NET_ARENA_BYTES]`, aligned to
`NET_ARENA_ALIGNMENT`, in the memory of your choice. Weights are `static const` in `net_data.h` and stay in flash.

Files: `net.h` (what you call), `net.c` (the calls), `net_data.h` (constants), {", ".join(f"`{kernel}`" for kernel in kernels)} (kernels),
`host.c` and `Makefile` (to try it here), `net.json` (what was planned, layer by layer).
"""
