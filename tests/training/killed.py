"""Started by a test: trains every method in children of its own and kills each with SIGKILL, most often while it saves.

Arguments: folder, delay after the second checkpoint in seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch

from netwright.core.json_lines import read_lines
from netwright.training.loop import train_supernet
from netwright.training.methods.table import METHODS
from tests.training.small import colours, small_recipe, small_run, small_supernet


def main(folder: Path, delay_s: float) -> None:
    """Leave a killed run a method in the folder."""
    torch.set_num_threads(1)
    for method in METHODS:
        recipe = small_recipe(method, checkpoint_steps=1, log_every=1)
        path = folder / method
        child = os.fork()
        if child == 0:
            try:
                train_supernet(small_supernet(), colours(), recipe, small_run(path, recipe))
            finally:
                os._exit(1)  # too late, or an error: the test fails
        while len(read_lines(path / "metrics.jsonl")) < 5:
            if os.waitpid(child, os.WNOHANG)[0]:
                sys.exit(f"{method} ended before it could be killed")
            time.sleep(0.002)
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
