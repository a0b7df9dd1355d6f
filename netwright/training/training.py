"""The state of a training, and what changes it: beginning a stage, one update, the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.supernet.supernet import Supernet
from netwright.training.ema import Ema
from netwright.training.lesson import Extra
from netwright.training.load import check_tensors, load_tensors
from netwright.training.optimizer import load_optimizer, make_extra_optimizer, make_optimizer, optimizer_state
from netwright.training.recipe import Recipe
from netwright.training.schedule import Span


def check_precision(recipe: Recipe, device: str) -> None:
    """Refuse a precision that a kind of device (cpu, cuda) does not have.

    Raises:
        NetwrightError: says what to use.
    """
    if recipe.precision == "fp16" and device != "cuda":
        raise NetwrightError("precision fp16 needs a GPU; on a CPU use fp32, or bf16 where it is faster.")


class Training:
    """Module, optimizer, averaged weights, loss scaler, teacher, and the number of the next step.

    `extras`: parameters beside the module's (a method's, a loss term's), each with an optimizer of its own. Every other thing a step depends on (batch, sub-networks, learning rate, dropout) is a pure function of its
    number and the recipe's seed, so this is the full state.
    """

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        device: torch.device,
        teacher: nn.Module | None = None,
        extras: Sequence[Extra] = (),
    ):
        check_precision(recipe, device.type)
        self.module = module.to(device)
        self.recipe = recipe
        self.device = device
        self._owns_teacher = teacher is None
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher is not None else None
        self.optimizer = make_optimizer(module, recipe)
        self.extras = tuple(extras)
        for extra in self.extras:
            extra.module.to(device)
        self.extra_optimizers = [make_extra_optimizer(extra, recipe) for extra in self.extras]
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
            self.extra_optimizers = [make_extra_optimizer(extra, self.recipe) for extra in self.extras]
        if self.ema:
            self.ema.restart(self.module)

    def update(self, learning_rate: float, steps_of_stage: int) -> None:
        """Clip the gradients, step, clear them, and average the weights."""
        optimizers = [self.optimizer, *self.extra_optimizers]
        for optimizer, factor in zip(optimizers, (1.0, *(extra.learning_rate for extra in self.extras)), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * factor
        if self.recipe.grad_clip:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.parameters(), self.recipe.grad_clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.module, steps_of_stage)
        self.step += 1

    def parameters(self) -> list[nn.Parameter]:
        """Return all that learns: the module's parameters, then those of the extras."""
        return [*self.module.parameters(), *(p for extra in self.extras for p in extra.module.parameters())]

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
        return all(bool(parameter.isfinite().all()) for parameter in self.parameters())

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on, as nested dicts of tensors and JSON values."""
        return {
            "step": self.step,
            "weights": self.module.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "ema": self.ema.tensors if self.ema else None,
            "scaler": self.scaler.state_dict(),
            "teacher": self.teacher.state_dict() if self._owns_teacher and self.teacher is not None else None,
            "extras": [
                {"parameters": extra.module.state_dict(), "optimizer": optimizer_state(optimizer)}
                for extra, optimizer in zip(self.extras, self.extra_optimizers, strict=True)
            ],
        }

    def state_bytes(self) -> int:
        """Return about how many bytes a checkpoint and the finished model take together on the disk."""
        weights = sum(tensor.nbytes for tensor in self.module.state_dict().values())
        learning = sum(parameter.nbytes for parameter in self.parameters())
        moments = 1 if self.recipe.optimizer == "sgd" else 2
        copies = 2 + (self.ema is not None) + (self._owns_teacher and self.teacher is not None)
        return copies * weights + moments * learning

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
        self._restore_extras(state.get("extras") or [])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def _restore_extras(self, states: Any) -> None:
        if not isinstance(states, list) or len(states) != len(self.extras):
            raise NetwrightError(
                "It holds other parameters beside the network's than this method and these changes have."
            )
        for extra, optimizer, state in zip(self.extras, self.extra_optimizers, states, strict=True):
            if not isinstance(state, dict):
                raise NetwrightError("Its parameters beside the network's are missing.")
            load_tensors(extra.module, state.get("parameters"), "parameters beside the network's")
            load_optimizer(optimizer, state.get("optimizer"))

    def _largest(self) -> nn.Module:
        assert isinstance(self.module, Supernet)
        with self.averaged_weights():
            largest = self.module.copy_of(self.module.family.space.largest())
        return largest.eval().requires_grad_(False)
