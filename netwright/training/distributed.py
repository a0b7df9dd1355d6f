"""Several processes, one training: started by torchrun, they average gradients and otherwise do the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from netwright.core.run import Run


@dataclass(frozen=True)
class Group:
    """This process among those that train together; alone: rank 0 of 1."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    @torch.no_grad()
    def agree(self, module: nn.Module | None) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.size > 1 and module is not None:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, *flags: bool) -> tuple[Tensor, list[bool]]:
        """Average in place the gradients that exist (of the same parameters everywhere), all in one message.

        Returns:
            The average loss, and of each flag whether any process has raised it.
        """
        if self.size == 1:
            return loss, list(flags)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(grad.flatten() for grad in grads), loss[None], loss.new_tensor(flags)])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([*(grad.numel() for grad in grads), 1, len(flags)])
        for grad, part in zip(grads, parts, strict=False):
            grad.copy_(part.view(grad.shape))
        return parts[-2][0], (parts[-1] > 0).tolist()


@contextlib.contextmanager
def processes() -> Iterator[Group]:
    """Join the processes that torchrun started (NCCL on GPUs, else Gloo), or be alone."""
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    joins = size > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(rank, size, device)
    finally:
        if joins:
            dist.destroy_process_group()


def create_run(path: str | Path, config: dict[str, Any]) -> Run:
    """Make or reopen a run, also when several processes do so at once: the first makes it, the others wait.

    Raises:
        NetwrightError: as `Run.create`, in every process.
    """
    with processes() as group:
        run = Run.create(path, config) if group.first else None
        group.wait()
        return run or Run.create(path, config)
