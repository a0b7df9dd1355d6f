"""The formats that networks are deployed in, by name.

A target is one function

    export(net, contract, folder, origin) -> Exported

that writes a network in eval mode into a folder and returns what it made, with a program to verify it with. Everything
else (verifying, measuring, the card, putting it in its place) is the same for all and stands in `artifact.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netwright.core.tables import Table

if TYPE_CHECKING:
    from torch import nn

    from netwright.deployment.contract import Contract
    from netwright.runtime.runtime import Program


@dataclass(frozen=True)
class Exported:
    """What a target made.

    Attributes:
        files: its files, relative to the folder, the model first.
        program: the model as it runs on this machine, one thread; it is compared with the source network, and timed.
        runtime: what runs it, as texts call it: "ONNX Runtime".
        usage: for the card: Python that runs the model beside it on the image named first on the command line, and leaves
            `output`, an array without the batch dimension, and `told`, the contract's JSON; the task's own line, which
            prints the answer, is put after it. Empty: none is shown.
    """

    files: tuple[str, ...]
    program: Program
    runtime: str
    usage: str = ""


class Target(Protocol):
    """The contract of a target."""

    def __call__(self, net: nn.Module, contract: Contract, folder: Path, origin: Mapping[str, Any]) -> Exported:
        """Write a network into a folder.

        Args:
            net: the network, calibrated, in eval mode; it is not to be changed.
            contract: what it expects and returns.
            folder: an empty folder.
            origin: texts on where the network comes from, to be kept in the file where the format can.

        Raises:
            NetwrightError: the network cannot be exported.
        """
        ...


TARGETS: Table[Target] = Table("Format", {"onnx": "netwright.deployment.onnx:export"})
