"""The training loop: epochs, early stopping, weight averaging, checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fusion import seeded
from study.errors import StudyError, TrialError
from study.executors.preemption import PREEMPTION_CAUSE, PreemptedError, preemption_noticed
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.freezing import FreezeSchedule

Rows = NDArray[np.int64]
EpochCallback = Callable[[int, float, float], None]
"""Called after each epoch with its number, mean training loss and monitored value."""


class TrainingModule(Protocol):
    """A model with its loss, batches and validation, as the training loop needs them.

    `loss` and `measure` get the module to use: a replica, or the one with averaged weights.
    """

    @property
    def module(self) -> nn.Module:
        """The module whose weights are trained."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups of AdamW, each with ``params``, ``lr`` and ``weight_decay``."""

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """Yield the global batches of one pass, the same on every process.

        Random numbers come from `generator`.
        """

    def loss(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """Return the mean loss of these rows (float32) and its weight, the number of terms.

        `rows` is this process's share of a batch; `rng` draws its random views and masks.
        The method moves the batch to the device.
        """

    def validate(self, module: nn.Module) -> float:
        """Return the monitored value, larger is better; called on the first process only."""

    def frozen_modules(self, epoch: int) -> Collection[nn.Module]:
        """Return the submodules frozen in this epoch, each without its children."""


def constant_schedule(progress: float) -> float:  # noqa: ARG001 (the signature of a schedule)
    """Return 1: the learning rates stay constant."""
    return 1.0


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of the training loop.

    Attributes
    ----------
    epochs : int
        Most epochs.
    patience : int
        Epochs without a better value after which training stops.
    epoch_steps : int
        Fewest optimizer steps of an epoch, which repeats passes until it has so many.
    precision : {'float32', 'bfloat16', 'float16'}
        Precision of matrix products in the forward pass; weights, sums and validation are float32.
    average : float
        Decay per step of the moving average of the weights, which is validated and kept; 0: none.
    schedule : function
        Fraction of the training done, in [0, 1) -> factor of the learning rates.
    """

    epochs: int
    patience: int
    epoch_steps: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    average: float = 0.0
    schedule: Callable[[float], float] = constant_schedule


@dataclass(frozen=True)
class TrainingHistory:
    """Training loss and monitored value of each epoch, and the best epoch, from 1."""

    loss: tuple[float, ...]
    monitored: tuple[float, ...]
    best_epoch: int


class OptimizerSteps:
    """Optimizer steps of one training, with an optional moving average of the weights.

    The average (Polyak & Juditsky 1992, in its exponential form) is validated and kept instead of
    the last weights: it removes the noise of the last batches of a small, skewed table.

    Parameters
    ----------
    training_module : TrainingModule
        Its module is already on the device.
    precision : {'float32', 'bfloat16', 'float16'}
        Precision of the forward pass; float16 scales the loss so that small gradients survive.
    average : float
        Decay of the moving average; 0: none.
    ranks : ProcessGroup
        Process group of the training.
    """

    def __init__(
        self, training_module: TrainingModule, precision: str, average: float, ranks: ProcessGroup
    ) -> None:
        self._training_module = training_module
        self._ranks = ranks
        self._replica: nn.Module = training_module.module
        self._dtype: torch.dtype = getattr(torch, precision)
        self._optimizer = torch.optim.AdamW(training_module.parameter_groups(), fused=True)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=precision == "float16")
        self._average = _WeightAverage(training_module.module, average) if average else None

    @property
    def evaluated(self) -> nn.Module:
        """The module to validate and keep: the averaged one if there is an average."""
        if self._average is None:
            return self._training_module.module
        averaged: nn.Module = self._average.model.module
        return averaged

    def wrap(self) -> None:
        """Build the replica again, after a change of which weights have gradients."""
        self._replica = self._ranks.wrap(self._training_module.module)

    def __call__(self, rows: Rows, rng: np.random.Generator, factor: float) -> tuple[float, float]:
        """Take a step on a global batch; return its mean loss and weight over all processes.

        If the loss is not finite, no weight is changed.
        """
        loss, weight = self._compute_loss(rows, rng)
        summed, total = self._ranks.total([loss.item() * weight if weight else 0.0, weight])
        mean = summed / total if total else float("nan")
        if not np.isfinite(mean):
            return mean, total
        # Replicas average their gradients. Scaled by the share of its rows, each loss contributes
        # so that the average is the gradient of the mean over the global batch.
        share = weight * self._ranks.size / total
        self._update_weights(loss if share == 1 else loss * share, factor)
        return mean, total

    def _compute_loss(self, rows: Rows, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        """Return loss and weight of this process's share.

        A process without rows computes the loss of the first one with weight 0, since all
        processes must take part in the exchange of gradients.
        """
        share = self._ranks.share(rows)
        with self._autocast():
            loss, weight = self._training_module.loss(
                self._replica, share if len(share) else rows[:1], rng
            )
        return loss, weight if len(share) else 0.0

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=self._dtype)

    def _update_weights(self, loss: torch.Tensor, factor: float) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update()

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs besides the module's."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.model.state_dict() if self._average is not None else None,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.model.load_state_dict(state["average"])


class _WeightAverage:
    """Exponential moving average of a module's weights; buffers are those of the last step.

    Gives the same numbers as ``AveragedModel.update_parameters`` with ``get_ema_multi_avg_fn``,
    but without collecting all parameters at every step, which for a head takes as long as the
    averaging itself.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.model = AveragedModel(module)
        self._share = 1 - decay
        averaged = self.model.module
        self._weights = list(zip(averaged.parameters(), module.parameters(), strict=True))
        self._buffers = list(zip(averaged.buffers(), module.buffers(), strict=True))
        self._count: torch.Tensor = self.model.n_averaged

    def update(self) -> None:
        """Add the module's current weights to the average, which starts with the first ones."""
        share = self._share if self._count.item() else 1.0
        with torch.no_grad():
            for mean, weight in self._weights:
                mean.lerp_(weight, share)
            for averaged, current in self._buffers:
                averaged.copy_(current)
            self._count.add_(1)


def train(
    training_module: TrainingModule,
    config: TrainerConfig,
    *,
    seed: int,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
    on_epoch: EpochCallback | None = None,
) -> TrainingHistory:
    """Train a module in place and leave it with the weights of its best epoch.

    Every epoch draws from its own generators, seeded with `seed` and the number of the epoch, so
    that a run resumed from a checkpoint equals one that was never interrupted. All processes of a
    group call this with the same module. They end with the same weights; the running statistics
    of batch norm on CPUs differ, and those of the first process are used.

    Parameters
    ----------
    training_module : TrainingModule
    config : TrainerConfig
    seed : int
        Seed of the batch order, dropout masks and random views.
    ranks : ProcessGroup, optional
        Process group of the training. Default: this process alone, on the CPU.
    checkpoints : CheckpointStore, optional
        Written after each epoch by the first process; training resumes from the stored state. It
        is not cleared here.
    on_epoch : function, optional
        Called by the first process after each epoch.

    Raises
    ------
    TrialError
        The loss or the monitored value is not finite; the message says in which epoch.
    PreemptedError
        A machine of the group is about to be taken away; the last epoch is in the checkpoint.
    """
    trainer = Trainer(training_module, config, seed, ranks or ProcessGroup())
    trainer.resume(checkpoints)
    while not trainer.ended:
        trainer.epoch()
        if trainer.ranks.is_first and checkpoints is not None:
            checkpoints.save(trainer.state())
        if trainer.ranks.is_first and on_epoch is not None:
            on_epoch(len(trainer.losses), trainer.losses[-1], trainer.monitored[-1])
        if (
            checkpoints is not None
            and not trainer.ended
            # summed over all processes, so that they leave together
            and trainer.ranks.total([float(preemption_noticed())])[0]
        ):
            raise PreemptedError(PREEMPTION_CAUSE)
    return trainer.finish()


class TrainingState:
    """Losses, monitored values and best weights of a training, and the seeds of its epochs."""

    def __init__(self, config: TrainerConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.losses: list[float] = []
        self.monitored: list[float] = []
        self.best: Mapping[str, Any] = {}

    @property
    def best_epoch(self) -> int:
        """The first epoch with the largest monitored value; 0 before the first."""
        return 1 + self.monitored.index(max(self.monitored)) if self.monitored else 0

    @property
    def ended(self) -> bool:
        """Whether all epochs are done or patience has run out."""
        done = len(self.monitored)
        return done >= self.config.epochs or (
            done > 0 and done - self.best_epoch >= self.config.patience
        )

    @property
    def history(self) -> TrainingHistory:
        """Values of every epoch, and the best epoch."""
        return TrainingHistory(tuple(self.losses), tuple(self.monitored), self.best_epoch)

    def check_loss(self, loss: float, epoch: int) -> None:
        """Raise a TrialError unless a training loss is finite."""
        if not math.isfinite(loss):
            raise TrialError(
                f"the training loss became {loss} in epoch {epoch}; "
                "lower 'training.learning_rate' or check the features"
            )

    def add_value(self, value: float) -> bool:
        """Add the monitored value of an epoch; return whether it is the best so far."""
        self.monitored.append(value)
        epoch = len(self.monitored)
        if not math.isfinite(value):
            raise TrialError(f"the validation value became {value} in epoch {epoch}")
        return self.best_epoch == epoch

    def epoch_seed(self, *numbers: int) -> int:
        """Return the seed of an epoch, or with its rank as second number, of a process in it."""
        sequence = np.random.SeedSequence([self.seed, *numbers])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


class Trainer(TrainingState):
    """A training in progress; `state` returns everything that must survive a kill."""

    def __init__(
        self,
        training_module: TrainingModule,
        config: TrainerConfig,
        seed: int,
        ranks: ProcessGroup,
    ) -> None:
        super().__init__(config, seed)
        self.training_module, self.ranks = training_module, ranks
        self.module = training_module.module.to(ranks.device)
        self.freeze = FreezeSchedule(self.module)
        self.steps = OptimizerSteps(training_module, config.precision, config.average, ranks)

    def epoch(self) -> None:
        """Train one epoch, validate, and keep the weights if they are the best so far."""
        epoch = 1 + len(self.losses)
        self.module.train()
        if self.freeze(self.training_module.frozen_modules(epoch)):
            self.steps.wrap()
        seed = self.epoch_seed(epoch, self.ranks.rank)
        with seeded(seed, devices=_cuda_devices(self.ranks.device)):
            self.losses.append(self._train(epoch))
            is_first, evaluated = self.ranks.is_first, self.steps.evaluated
            value = self.training_module.validate(evaluated) if is_first else 0.0
        if self.add_value(self.ranks.agree(value)):
            self.best = copy.deepcopy(self.steps.evaluated.state_dict())

    def _train(self, epoch: int) -> float:
        """Take the steps of an epoch; return the mean loss."""
        generator = torch.Generator().manual_seed(self.epoch_seed(epoch))
        rng = np.random.default_rng([self.seed, epoch, self.ranks.rank])
        batches = epoch_batches(self.training_module, generator, self.config.epoch_steps)
        total, weights = 0.0, 0.0
        for number, rows in enumerate(batches):
            done = (epoch - 1 + number / len(batches)) / self.config.epochs
            loss, weight = self.steps(rows, rng, self.config.schedule(done))
            self.check_loss(loss, epoch)
            total, weights = total + loss * weight, weights + weight
        return total / weights

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        history = {"losses": self.losses, "monitored": self.monitored, "best": self.best}
        return {"module": self.module.state_dict(), **self.steps.state(), **history}

    def resume(self, checkpoints: CheckpointStore | None) -> None:
        """Restore the last checkpoint, if there is one."""
        state = checkpoints.load() if checkpoints is not None else None
        epoch = len(state["losses"]) if state is not None else 0
        if self.ranks.total([epoch])[0] != epoch * self.ranks.size:
            raise StudyError(
                f"process {self.ranks.rank} reads a checkpoint of epoch {epoch} and other "
                "processes read another one: every machine must see the same storage"
            )
        if state is not None:
            self.module.load_state_dict(state["module"])
            self.steps.load(state)
            self.losses, self.monitored = list(state["losses"]), list(state["monitored"])
            self.best = state["best"]

    def finish(self) -> TrainingHistory:
        """Leave the module with its best weights, nothing frozen, and return the history."""
        self.freeze(())
        self.module.load_state_dict(self.best)
        return self.history


def epoch_batches(
    training_module: TrainingModule, generator: torch.Generator, fewest: int
) -> Sequence[Rows]:
    """Return the batches of an epoch: whole passes until there are at least `fewest` batches."""
    batches: list[Rows] = []
    while len(batches) < max(1, fewest):
        one_pass = list(training_module.batches(generator))
        if not one_pass:
            raise StudyError("there is nothing to train on: a pass over the data has no batch")
        batches += one_pass
    return batches


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
