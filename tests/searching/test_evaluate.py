"""Accuracies of sub-networks: right, recorded, resumable, the same in worker processes."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from search_families import small_family

from netwright.core.errors import NetwrightError
from netwright.core.json_lines import read_lines
from netwright.data import Dataset, ImageSet, calibration_batches
from netwright.specialization import evaluate
from netwright.specialization.evaluate import evaluate_archs, recorded
from netwright.supernet.supernet import Supernet
from netwright.training.evaluate import accuracy


def images(count: int, seed: int) -> ImageSet:
    """Images of four colours that a network may or may not tell apart."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    noise = torch.randint(0, 120, (count, 3, 24, 24), generator=rng)
    noise[:, 0] += labels[:, None, None] * 40
    return ImageSet(noise.to(torch.uint8), labels)


DATASET = Dataset("colours", images(64, 0), images(40, 1), tuple("abcd"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))


def supernet(seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    return Supernet(small_family()).eval()


def some_archs(count: int):
    space = small_family().space
    return [space.decode(row) for row in space.sample(np.random.default_rng(5), count)]


def test_an_accuracy_is_that_of_the_extracted_network(tmp_path):
    archs = some_archs(3)
    found = evaluate_archs(supernet(), DATASET, archs, tmp_path / "e.jsonl", workers=1)
    for arch, value in zip(archs, found, strict=True):
        net = supernet().extract(arch, calibration_batches(DATASET, resolution=arch.resolution, images=64))
        own = accuracy(net, DATASET.val, mean=DATASET.mean, std=DATASET.std, resolution=arch.resolution)
        assert value == own


def test_evaluating_leaves_the_supernet_as_it_was(tmp_path):
    net = supernet()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    evaluate_archs(net, DATASET, some_archs(2), tmp_path / "e.jsonl", workers=1)
    assert all((tensor == before[name]).all() for name, tensor in net.state_dict().items())


def test_nothing_is_evaluated_twice(tmp_path, monkeypatch):
    path = tmp_path / "e.jsonl"
    archs = some_archs(4)
    calls = []
    original = evaluate.Job.value
    monkeypatch.setattr(evaluate.Job, "value", lambda self, arch: calls.append(arch) or original(self, arch))
    first = evaluate_archs(supernet(), DATASET, archs[:2], path, workers=1)
    path.write_bytes(path.read_bytes() + b'{"arch": {"resol')  # as a kill while writing leaves it
    both = evaluate_archs(supernet(), DATASET, [*archs, archs[0]], path, workers=1)
    assert calls == archs
    assert both[:2].tolist() == first.tolist() and both[4] == both[0]
    assert recorded(path) == dict(zip(archs, both[:4].tolist(), strict=True))


def test_records_of_other_weights_or_images_do_not_count(tmp_path):
    path = tmp_path / "e.jsonl"
    archs = some_archs(2)
    evaluate_archs(supernet(), DATASET, archs, path, workers=1)
    evaluate_archs(supernet(1), DATASET, archs, path, workers=1)
    evaluate_archs(supernet(), DATASET, archs, path, images=DATASET.train, workers=1)
    assert len(read_lines(path)) == 6
    assert len({record["made_with"] for record in read_lines(path)}) == 3


def test_workers_find_the_same_and_their_errors_arrive(tmp_path):
    archs = some_archs(6)
    alone = evaluate_archs(supernet(), DATASET, archs, tmp_path / "1.jsonl", workers=1)
    wrong = dataclasses.replace(archs[0], resolution=0)
    with pytest.raises(NetwrightError, match="resolution must be at least 1"):
        evaluate_archs(supernet(), DATASET, [*archs, wrong], tmp_path / "2.jsonl", workers=2)
    shared = recorded(tmp_path / "2.jsonl")  # what was done before the error
    assert len(shared) >= 4
    assert all(shared.get(arch, value) == value for arch, value in zip(archs, alone, strict=True))


def test_a_family_that_cannot_be_sent_is_evaluated_in_this_process(tmp_path, capsys):
    made = small_family()
    closed = dataclasses.replace(made, blocks=lambda arch: made.blocks(arch))
    torch.manual_seed(0)
    net = Supernet(closed).eval()
    archs = some_archs(3)
    found = evaluate_archs(net, DATASET, archs, tmp_path / "e.jsonl", workers=2)
    assert "one process" in capsys.readouterr().err
    assert found.tolist() == evaluate_archs(supernet(), DATASET, archs, tmp_path / "o.jsonl", workers=1).tolist()


@pytest.mark.slow
def test_a_killed_evaluation_continues_where_it_was(tmp_path):
    path = tmp_path / "e.jsonl"
    program = """
        import sys, test_evaluate as t
        if __name__ == "__main__":
            t.evaluate_archs(t.supernet(), t.DATASET, t.some_archs(60), t.Path(sys.argv[1]), workers=2)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(program))
    here = Path(__file__).parent
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    process = subprocess.Popen([sys.executable, str(script), str(path)], env=settings, start_new_session=True)
    while process.poll() is None and len(read_lines(path)) < 5:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = recorded(path)
    assert 5 <= len(before) < 60
    archs = some_archs(60)
    values = evaluate_archs(supernet(), DATASET, archs, path, workers=1)
    assert len(read_lines(path)) == len(set(archs))
    assert all(before[arch] == value for arch, value in zip(archs, values, strict=True) if arch in before)
