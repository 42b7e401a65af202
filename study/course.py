"""What a training is made of: its course, its pace and its history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Rows = NDArray[np.int64]
Told = Callable[[int, float, float], None]
"""Hears of each epoch: its number, mean training loss and monitored value."""


class Course(Protocol):
    """What is trained. Its methods get the module to use: a replica, or the averaged weights."""

    @property
    def module(self) -> nn.Module:
        """The module whose weights are trained."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of AdamW, each with ``params``, ``lr`` and ``weight_decay``."""

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """One pass: global batches, the same on every process (random order: `generator`)."""

    def loss(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """Mean loss of these rows, and its weight: the number of things it is a mean of.

        `rows` is this process's share of a batch; `rng` draws its random views and masks.
        Batches are moved to the device here; the loss is float32.
        """

    def measure(self, module: nn.Module) -> float:
        """Value of the validation part, larger is better; only the first process is asked."""

    def held(self, epoch: int) -> Collection[nn.Module]:
        """Submodules held in this epoch, each without its children (see `study.holding`)."""


def constant(progress: float) -> float:  # noqa: ARG001 (the signature of a schedule)
    """Schedule of a fit: the learning rates stay as they are."""
    return 1.0


@dataclass(frozen=True)
class Pace:
    """Numbers of the loop.

    Attributes
    ----------
    epochs : int
        Most epochs.
    patience : int
        Epochs without a better value after which training stops.
    epoch_steps : int
        Fewest optimizer steps of an epoch: passes are joined until there are so many.
    precision : {'float32', 'bfloat16', 'float16'}
        Of matrix products in the forward pass; weights, sums and validation stay float32.
    average : float
        Decay a step of the moving average of the weights that is validated and kept; 0: none.
    schedule : function
        Share of the training that is done, from 0 to below 1 -> factor of the learning rates.
    """

    epochs: int
    patience: int
    epoch_steps: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    average: float = 0.0
    schedule: Callable[[float], float] = constant


@dataclass(frozen=True)
class History:
    """What happened: per-epoch training loss and monitored value, and the epoch kept."""

    loss: tuple[float, ...]
    monitored: tuple[float, ...]
    best_epoch: int
