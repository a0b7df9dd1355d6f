"""Started by torchrun from a test: trains with several processes. Arguments: folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from netwright.core.errors import NetwrightError
from netwright.training.distributed import create_run, processes
from netwright.training.loop import train_supernet
from netwright.training.methods.table import METHODS
from tests.training.small import colours, small_recipe, small_supernet
from tests.training.test_own_methods import OWN


def main(folder: Path) -> None:
    """Train every method with BatchNorm into runs; every method without into plain weights, one file a process.

    Besides: a method with parameters of its own, and a run that a callback stops.
    """
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    with processes():
        for method in METHODS:
            recipe = small_recipe(method, epochs=2)
            config = {"kind": "supernet", "space": "small", "recipe": recipe.to_json()}
            run = create_run(folder / method, config)
            train_supernet(small_supernet(seed=rank), colours(), recipe, run)
            supernet = small_supernet(seed=rank, normalization="group")
            train_supernet(supernet, colours(), small_recipe(method, augment="none"))
            torch.save(supernet.state_dict(), folder / f"{method}-{rank}.pt")
        own = small_supernet(seed=rank, normalization="group")
        train_supernet(own, colours(), small_recipe("random", method=OWN, augment="none"))
        torch.save(own.state_dict(), folder / f"tempered-{rank}.pt")
        recipe = small_recipe("random", log_every=1)
        run = create_run(folder / "stopped", {"kind": "supernet", "space": "small", "recipe": recipe.to_json()})
        train_supernet(small_supernet(), colours(), recipe, run, callback=lambda record: record["step"] == 2)
        try:
            train_supernet(small_supernet(), colours(), small_recipe("static", batch_size=25))
        except NetwrightError as error:
            (folder / f"error-{rank}").write_text(str(error))
        dist.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
