"""Training memory of modules that run parts of themselves again in the backward pass, against real steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from benchmarks.real_memory import autograd_saves
from netwright.cost.memory.training import training_memory
from netwright.cost.profile import profile
from netwright.graph.capture.trace import capture

Run = Callable[[nn.Sequential, Tensor, bool], Tensor]


def _first(net: nn.Sequential, x: Tensor, re: bool) -> Tensor:
    return net[4:](checkpoint(net[:4], x, use_reentrant=re))


def _last(net: nn.Sequential, x: Tensor, re: bool) -> Tensor:
    return checkpoint(net[2:], net[:2](x), use_reentrant=re)


def _in_pieces(net: nn.Sequential, x: Tensor, re: bool) -> Tensor:
    return checkpoint_sequential(net, 3, x, use_reentrant=re)


def _nested(net: nn.Sequential, x: Tensor, re: bool) -> Tensor:
    def outer(y: Tensor) -> Tensor:
        return net[5:](checkpoint(net[3:5], net[2](y), use_reentrant=re))

    return checkpoint(outer, net[:2](x), use_reentrant=re)


class Checkpointed(nn.Module):
    """Linear layers, dropout and BatchNorm, of which a part runs twice."""

    def __init__(self, run: Run, reentrant: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(8, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.Dropout(0.2),
            nn.BatchNorm1d(64),
            nn.Tanh(),
            nn.Linear(64, 4),
        )
        self.run, self.reentrant = run, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.net, x, self.reentrant)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("learning", ["", "bias"])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("run", [_first, _last, _in_pieces, _nested])
def test_figures_are_those_of_a_real_step(run: Run, reentrant: bool, learning: str) -> None:
    module = Checkpointed(run, reentrant).train()
    names = [name for name, _ in module.named_parameters() if name.endswith(learning) or name == "net.6.weight"]
    graph = capture(module, torch.empty(16, 8), trainable=names)
    memory = training_memory(graph)

    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
    out, saved = autograd_saves(module, torch.randn(16, 8))
    out.sum().backward()
    learned = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert set(graph.gradients) == learned
    assert memory.trained_params == sum(module.get_parameter(name).numel() for name in learned)
    assert memory.saved_bytes == saved
    assert memory.saved_bytes_frozen_aware <= saved
    assert any("get no gradient" in note for note in graph.notes) == (learned != set(names))
    assert graph.params == sum(parameter.numel() for parameter in module.parameters())


def test_what_runs_again_belongs_to_its_layer() -> None:
    module = Checkpointed(_last, False).train()
    graph = capture(module, torch.empty(16, 8), trainable=["net.2.weight", "net.6.weight"])
    again = {op.path for op in graph.ops if op.kind == "aten.addmm" and op.stage == "backward"}
    assert again == {"net.2"}


def test_what_training_alone_shows_is_among_the_notes_of_a_profile() -> None:
    notes = profile(Checkpointed(_first, True), torch.empty(16, 8), train="full").notes
    assert any(note.startswith("training: net.0.weight") and "use_reentrant=True" in note for note in notes)
    assert profile(Checkpointed(_first, False), torch.empty(16, 8), train="full").notes == ()
