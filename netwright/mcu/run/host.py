"""The generated C built and run on this machine, with any compiler and with sanitizers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.mcu.run.toolchain import WARNINGS, call, harness, sizes

SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


@dataclass(frozen=True)
class HostNet:
    """A program that runs the network."""

    program: Path
    input_bytes: int
    output_bytes: int

    def run(self, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run N inputs, any shape after the first dimension; returns the outputs as [N, output_bytes].

        Raises:
            NetwrightError: the inputs are not of the network's size, or the program failed, as when a sanitizer
                objects.
        """
        checked = check_inputs(inputs, self.input_bytes)
        written = call([self.program], stdin=checked.tobytes())
        return np.frombuffer(written, np.int8).reshape(len(checked), self.output_bytes)


def check_inputs(inputs: NDArray[np.int8], input_bytes: int) -> NDArray[np.int8]:
    """Return inputs as [N, input_bytes].

    Raises:
        NetwrightError: they are not int8, or not of the network's size.
    """
    if inputs.dtype != np.int8 or inputs.ndim == 0 or inputs.size != len(inputs) * input_bytes:
        raise NetwrightError(
            f"Inputs of shape {inputs.shape} and type {inputs.dtype}: the network takes [N, {input_bytes}] of int8."
        )
    return inputs.reshape(len(inputs), input_bytes)


def build_host(
    directory: Path,
    *,
    sanitize: bool = False,
    compiler: str = "gcc",
    optimize: str = "-O2",
    flags: tuple[str, ...] = (),
    folder: Path | None = None,
) -> HostNet:
    """Build the program of a generated directory in `folder`, directory/host if None.

    Warnings are errors. With `sanitize`, AddressSanitizer and UndefinedBehaviorSanitizer watch every run.

    Raises:
        NetwrightError: the directory holds no network, the compiler is not installed or refuses the code.
    """
    stated = sizes(directory)
    kind = "-".join((Path(compiler).name, "sanitized") if sanitize else (Path(compiler).name,))
    program = ((folder or directory / "host") / f"net-{kind}").resolve()
    program.parent.mkdir(exist_ok=True)
    options = [*WARNINGS, optimize, *(SANITIZERS if sanitize else ()), *flags]
    call([compiler, *options, f"-I{directory}", directory / "net.c", harness("host.c"), "-o", program])
    return HostNet(program, stated["input"], stated["output"])


def host_files() -> dict[str, str]:
    """Return the texts of the files with which a generated directory builds and runs the network on any machine."""
    return {"Makefile": host_makefile(), "host.c": harness("host.c").read_text()}


def host_makefile() -> str:
    """Return the text of a generated directory's Makefile."""
    warnings = " ".join(WARNINGS)
    sanitizers = " ".join(SANITIZERS)
    return f"""# Builds the network for this machine: ./net < inputs.bin > outputs.bin
# `make sanitized` builds ./net-sanitized, which AddressSanitizer and UndefinedBehaviorSanitizer watch.
CFLAGS ?= -O2
WARNINGS := {warnings}
SOURCES := net.c host.c

net: $(SOURCES) $(wildcard *.h)
\t$(CC) $(WARNINGS) $(CFLAGS) $(SOURCES) -o $@

net-sanitized: $(SOURCES) $(wildcard *.h)
\t$(CC) $(WARNINGS) -O1 {sanitizers} $(SOURCES) -o $@

.PHONY: sanitized clean
sanitized: net-sanitized
clean:
\trm -f net net-sanitized
"""
