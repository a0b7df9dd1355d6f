"""The state of a training, and what changes it: beginning a stage, one update, the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.supernet.supernet import Supernet
from netwright.training.ema import Ema
from netwright.training.load import check_tensors, load_tensors
from netwright.training.optimizer import load_optimizer, make_optimizer, optimizer_state
from netwright.training.recipe import Recipe
from netwright.training.schedule import Span


class Training:
    """Module, optimizer, averaged weights, loss scaler, teacher, and the number of the next step.

    Every other thing a step depends on (batch, sub-networks, learning rate, dropout) is a pure function of its
    number and the recipe's seed, so this is the full state.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, device: torch.device, teacher: nn.Module | None = None):
        if recipe.precision == "fp16" and device.type != "cuda":
            raise NetwrightError("precision fp16 needs a GPU; on a CPU use fp32, or bf16 where it is faster.")
        self.module = module.to(device)
        self.recipe = recipe
        self.device = device
        self._owns_teacher = teacher is None
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher is not None else None
        self.optimizer = make_optimizer(module, recipe)
        self.ema = Ema(module, recipe.ema_decay) if recipe.ema_decay else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.step = 0

    def begin(self, span: Span) -> None:
        """Begin a stage: its teacher, its order of channels, a fresh optimizer and average."""
        if span.stage.distils and self.teacher is None and self.recipe.distillation_weight:
            self.teacher = self._largest()
        if span.stage.sorts_channels and isinstance(self.module, Supernet):
            self.module.sort_channels()
        if span.start:
            self.optimizer = make_optimizer(self.module, self.recipe)
        if self.ema:
            self.ema.restart(self.module)

    def update(self, learning_rate: float, steps_of_stage: int) -> None:
        """Clip the gradients, step, clear them, and average the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.recipe.grad_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.module, steps_of_stage)
        self.step += 1

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of mixed precision, if the recipe has one."""
        if self.recipe.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.recipe.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Lend the module the averaged weights, for evaluation."""
        with self.ema.applied(self.module) if self.ema else contextlib.nullcontext():
            yield

    def finish(self) -> None:
        """Leave the averaged weights in the module, in eval mode."""
        if self.ema:
            self.module.load_state_dict(self.ema.tensors)
        self.module.eval()

    @torch.no_grad()
    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(parameter.isfinite().all()) for parameter in self.module.parameters())

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on, as nested dicts of tensors and JSON values."""
        return {
            "step": self.step,
            "weights": self.module.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "ema": self.ema.tensors if self.ema else None,
            "scaler": self.scaler.state_dict(),
            "teacher": self.teacher.state_dict() if self._owns_teacher and self.teacher is not None else None,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned.

        Raises:
            NetwrightError: a tensor is missing or of another shape.
        """
        if not isinstance(state.get("step"), int) or not isinstance(state.get("scaler"), dict):
            raise NetwrightError("It holds no training state.")
        load_tensors(self.module, state.get("weights"), "weights")
        if self.ema:
            check_tensors(state.get("ema"), self.ema.tensors, "averaged weights")
            for name, tensor in self.ema.tensors.items():
                tensor.copy_(state["ema"][name])
        if state.get("teacher") is not None:
            self.teacher = self._largest()
            load_tensors(self.teacher, state["teacher"], "teacher weights")
        load_optimizer(self.optimizer, state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def _largest(self) -> nn.Module:
        assert isinstance(self.module, Supernet)
        with self.averaged_weights():
            largest = self.module.copy_of(self.module.family.space.largest())
        return largest.eval().requires_grad_(False)
