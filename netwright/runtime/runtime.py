"""What a runtime is: it makes programs of modules. Nothing of torch is imported before one is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np

    from netwright.nn.wiring import Wiring


class Program(Protocol):
    """A network that is ready to run."""

    def run(self, *inputs: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Runtime:
    """What runs networks.

    Attributes:
        package: the installed package whose version figures belong to.
        compile: `compile(module, in_shape, *, threads=1)` makes a program for batch 1. A block that reads several values
            comes as `compile(module, *in_shapes, threads=1)`.
        prepare: `prepare(module, *in_shapes)` makes a part of a block.
        chain: `chain(parts, *, threads=1)` makes a program of parts, each fed by the one before, or as `wiring` says,
            which is given where blocks read others than the one before.
        name: what records call it, where it is no row of `RUNTIMES`.

    `prepare` and `chain` make measuring much faster where many networks share blocks. Without them the joined modules are
    compiled.
    """

    package: str
    compile: Callable[..., Program]
    prepare: Callable[..., Any] | None = None
    chain: Callable[..., Program] | None = None
    name: str = ""

    @property
    def version(self) -> str:
        """Name and version of the package; figures belong to it.

        Raises:
            NetwrightError: the package is not installed.
        """
        from importlib import metadata

        try:
            return f"{self.package} {metadata.version(self.package)}"
        except metadata.PackageNotFoundError as error:
            raise NetwrightError(f"The runtime needs the package {self.package!r}, which is not installed.") from error

    def part(self, module: Any, *in_shapes: tuple[int, ...]) -> Any:
        """Return a block's module as one part of later programs."""
        return self.prepare(module, *in_shapes) if self.prepare else (module, in_shapes)

    def join(self, parts: Sequence[Any], *, threads: int = 1, wiring: Wiring | None = None) -> Program:
        """Return parts as one program, each fed by the one before, or as `wiring` says, whose turns they are in order."""
        if self.chain is None:
            from netwright.runtime.joined import joined  # torch, only where it is needed

            module, in_shapes = joined(parts, wiring)
            return self.compile(module, *in_shapes, threads=threads)
        if wiring is None:
            return self.chain(parts, threads=threads)
        return self.chain(parts, threads=threads, wiring=wiring)
