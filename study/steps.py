"""One optimizer step: AdamW, mixed precision, averaged weights, gradients of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from study.course import Course, Rows
from study.quick_adamw import QuickAdamW
from study.ranks import Ranks


class Stepper:
    """Steps of one training, and the moving average of the weights where one is asked for.

    The average (Polyak & Juditsky 1992, in its exponential form) is what is validated and kept:
    it takes the noise of the last batches out of a small, skewed table.

    Parameters
    ----------
    course : Course
        Its module lies on the device already.
    precision : {'float32', 'bfloat16', 'float16'}
        Of the forward pass; float16 scales the loss so that small gradients survive.
    average : float
        Decay of the moving average; 0: none.
    ranks : Ranks
        Place of this process.
    """

    def __init__(self, course: Course, precision: str, average: float, ranks: Ranks) -> None:
        self._course = course
        self._ranks = ranks
        self._replica: nn.Module = course.module
        self._dtype: torch.dtype = getattr(torch, precision)
        self._optimizer = QuickAdamW(course.groups())
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=precision == "float16")
        self._average = _Average(course.module, average) if average else None

    @property
    def kept(self) -> nn.Module:
        """The module with the weights that count."""
        return self._course.module if self._average is None else self._average.model.module

    def wrap(self) -> None:
        """Share gradients between the replicas anew: which weights have one has changed."""
        self._replica = self._ranks.wrap(self._course.module)

    def __call__(self, rows: Rows, rng: np.random.Generator, factor: float) -> tuple[float, float]:
        """Take a step on a global batch; return its mean loss and weight over all processes.

        A loss that is not finite changes nothing.
        """
        loss, weight = self._local(rows, rng)
        summed, total = self._ranks.total([loss.item() * weight if weight else 0.0, weight])
        mean = summed / total if total else float("nan")
        if not np.isfinite(mean):
            return mean, total
        # Replicas average their gradients: weighted so, that is the gradient of the global mean.
        share = weight * self._ranks.size / total
        self._change(loss if share == 1 else loss * share, factor)
        return mean, total

    def _local(self, rows: Rows, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        """Loss of this process's share; without one, of a stand-in that weighs nothing."""
        share = self._ranks.share(rows)
        with self._precision():
            loss, weight = self._course.loss(self._replica, share if len(share) else rows[:1], rng)
        return loss, weight if len(share) else 0.0

    def _precision(self) -> AbstractContextManager[object]:
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=self._dtype)

    def _change(self, loss: torch.Tensor, factor: float) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.forget()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._scaler.is_enabled():
            self._scaler.step(self._optimizer)
            self._scaler.update()
        else:
            self._optimizer.advance()
        if self._average is not None:
            self._average.update()

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the module."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.model.state_dict() if self._average is not None else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.model.load_state_dict(state["average"])


class _Average:
    """A moving average of the weights of a module; its buffers are those of the last step.

    What `AveragedModel` does, without looking all weights up by name at every step: for a head
    that took longer than the sums themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.model = AveragedModel(module)
        self._share = 1 - decay
        self._weights = _weights(self.model.module), _weights(module)
        self._buffers = list(zip(self.model.module.buffers(), module.buffers(), strict=True))
        self._count: torch.Tensor = self.model.n_averaged

    def update(self) -> None:
        """Take in the weights of the module; the first ones are the average."""
        kept, trained = self._weights
        with torch.no_grad():
            if not self._count.item():
                torch._foreach_copy_(kept, trained)
            else:
                torch._foreach_lerp_(kept, trained, self._share)
            for mine, other in self._buffers:
                mine.copy_(other)
            self._count.add_(1)


def _weights(module: nn.Module) -> list[torch.Tensor]:
    return [values.detach() for values in module.parameters()]
