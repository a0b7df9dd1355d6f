"""A classifier on frozen features: what it answers is what scikit-learn's model answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.data import load_dataset
from netwright.training.evaluate import evaluate
from netwright.training.linear_probe import Probe, classifier_of, features_of, fit_probe, set_classifier


def blobs(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 400)
    centres = rng.normal(0, 3, (classes, 20))
    return (centres[labels] + rng.normal(0, 1, (400, 20))) * rng.uniform(0.1, 10, 20) + 5, labels


def answers(probe: Probe, features_ND: np.ndarray) -> np.ndarray:
    return (torch.from_numpy(features_ND).float() @ probe.weight_KD.T + probe.bias_K).argmax(1).numpy()


@pytest.mark.parametrize("classes", [2, 5])
def test_features_of_any_scale_are_told_apart(classes: int) -> None:
    features_ND, labels_N = blobs(classes)
    probe = fit_probe(features_ND, labels_N, classes=classes)
    assert probe.weight_KD.shape == (classes, 20)
    assert (answers(probe, features_ND) == labels_N).mean() > 0.97


def test_a_class_without_images_is_never_the_answer() -> None:
    features_ND, labels_N = blobs(3)
    probe = fit_probe(features_ND, labels_N * 2, classes=6)  # classes 0, 2 and 4
    assert set(answers(probe, features_ND)) == {0, 2, 4}
    with pytest.raises(NetwrightError, match="two classes"):
        fit_probe(features_ND, np.zeros(400, int), classes=2)


def test_a_network_with_the_probe_answers_by_its_features() -> None:
    digits = load_dataset("digits", size=8)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)).train()
    features_ND, labels_N = features_of(net, digits.train, digits, 8)
    assert net.training and features_ND.shape == (len(digits.train), 1024)
    set_classifier(net, fit_probe(features_ND, labels_N, classes=10))
    shared = {"mean": digits.mean, "std": digits.std, "resolution": 8}
    assert evaluate(net, digits.val, **shared) > 90
    trained_on = evaluate(net, dataclasses.replace(digits, val=digits.train).val, **shared)
    assert trained_on > 95
    with pytest.raises(NetwrightError, match="no linear layer"):
        classifier_of(nn.Sequential(nn.Conv2d(3, 4, 1)))
