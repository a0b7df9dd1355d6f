"""A classifier on frozen features: logistic regression on what the last linear layer of a network reads.

The first baseline of any fine-tuning, and the classifier that it starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.data import Dataset, ImageSet, eval_batches
from netwright.training.evaluate import arguments

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse regularization, of features of unit deviation
HELD_OUT = 0.2


@dataclass(frozen=True)
class Probe:
    """A fitted classifier of features [N, D]: logits = features @ weight_KD.T + bias_K."""

    weight_KD: Tensor
    bias_K: Tensor
    strength: float


@torch.inference_mode()
def features_of(net: nn.Module, images: ImageSet, dataset: Dataset, resolution: int) -> tuple[NDArray, NDArray]:
    """Return what the network's last linear layer reads of every image [N, D], and the labels [N]."""
    read: list[Tensor] = []
    hook = classifier_of(net).register_forward_pre_hook(lambda _, given: read.append(given[0].float().cpu()))
    labels, training = [], net.training
    net.eval()
    try:
        for x_BCHW, y_B in eval_batches(images, mean=dataset.mean, std=dataset.std, resolution=resolution):
            net(*arguments(x_BCHW))
            labels.append(y_B)
    finally:
        hook.remove()
        net.train(training)
    return torch.cat(read).numpy(), torch.cat(labels).numpy()


def classifier_of(net: nn.Module) -> nn.Linear:
    """Return the last linear layer.

    Raises:
        NetwrightError: there is none.
    """
    found = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise NetwrightError(
            f"{type(net).__name__} has no linear layer, so no classifier can be fitted to its features."
        )
    return found[-1]


def fit_probe(features_ND: NDArray, labels_N: NDArray, *, classes: int, seed: int = 0) -> Probe:
    """Fit a logistic regression; its regularization is chosen on a fifth of the images, then it is fitted on all.

    Raises:
        NetwrightError: the images are of one class.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels_N)) < 2:
        raise NetwrightError("A classifier needs images of two classes or more.")
    mean_D, std_D = features_ND.mean(0), features_ND.std(0) + 1e-6
    unit_ND = ((features_ND - mean_D) / std_D).astype(np.float64)
    test = np.random.default_rng(seed).permutation(len(unit_ND)) < HELD_OUT * len(unit_ND)
    best, strength = -1.0, STRENGTHS[0]
    if test.sum() and len(np.unique(labels_N[~test])) > 1:
        for asked in STRENGTHS:
            model = LogisticRegression(C=asked, max_iter=300).fit(unit_ND[~test], labels_N[~test])
            score = float(model.score(unit_ND[test], labels_N[test]))
            if score > best:
                best, strength = score, asked
    model = LogisticRegression(C=strength, max_iter=300).fit(unit_ND, labels_N)
    found = [int(label) for label in model.classes_]
    coefficients, constants = model.coef_, model.intercept_
    if len(found) == 2:  # one row for two classes: half of it for each
        coefficients, constants = (
            np.concatenate([-coefficients, coefficients]) / 2,
            np.array([-constants[0], constants[0]]) / 2,
        )
    weight_KD, bias_K = np.zeros((classes, unit_ND.shape[1])), np.full(classes, constants.min() - 5)
    weight_KD[found], bias_K[found] = coefficients, constants
    bias_K = bias_K - (weight_KD / std_D) @ mean_D
    return Probe(torch.from_numpy(weight_KD / std_D).float(), torch.from_numpy(bias_K).float(), strength)


@torch.no_grad()
def set_classifier(net: nn.Module, probe: Probe) -> None:
    """Give the network's last linear layer the weights of a probe."""
    layer = classifier_of(net)
    layer.weight.copy_(probe.weight_KD)
    layer.bias.copy_(probe.bias_K)
