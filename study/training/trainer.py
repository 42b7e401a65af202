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
from study.executors.preemption import LEAVING, PreemptedError, preemption_noticed
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.freezing import FreezeSchedule

Rows = NDArray[np.int64]
Told = Callable[[int, float, float], None]
"""Hears of each epoch: its number, mean training loss and monitored value."""


class TrainingModule(Protocol):
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
        """Return the submodules frozen in this epoch, each without its children."""


def constant_schedule(progress: float) -> float:  # noqa: ARG001 (the signature of a schedule)
    """Schedule of a fit: the learning rates stay as they are."""
    return 1.0


@dataclass(frozen=True)
class TrainerConfig:
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
    schedule: Callable[[float], float] = constant_schedule


@dataclass(frozen=True)
class TrainingHistory:
    """What happened: per-epoch training loss and monitored value, and the epoch kept."""

    loss: tuple[float, ...]
    monitored: tuple[float, ...]
    best_epoch: int


class Stepper:
    """Steps of one training, and the moving average of the weights where one is asked for.

    The average (Polyak & Juditsky 1992, in its exponential form) is what is validated and kept:
    it takes the noise of the last batches out of a small, skewed table.

    Parameters
    ----------
    course : TrainingModule
        Its module lies on the device already.
    precision : {'float32', 'bfloat16', 'float16'}
        Of the forward pass; float16 scales the loss so that small gradients survive.
    average : float
        Decay of the moving average; 0: none.
    ranks : ProcessGroup
        Place of this process.
    """

    def __init__(
        self, course: TrainingModule, precision: str, average: float, ranks: ProcessGroup
    ) -> None:
        self._course = course
        self._ranks = ranks
        self._replica: nn.Module = course.module
        self._dtype: torch.dtype = getattr(torch, precision)
        self._optimizer = torch.optim.AdamW(course.groups(), fused=True)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=precision == "float16")
        self._average = _WeightAverage(course.module, average) if average else None

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
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
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


class _WeightAverage:
    """An exponential moving average of the weights of a module; buffers are those of the last step.

    The same numbers as ``AveragedModel.update_parameters`` with ``get_ema_multi_avg_fn``, which
    collects all parameters anew at every step: for a head that takes as long as the averaging.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.model = AveragedModel(module)
        self._share = 1 - decay
        kept = self.model.module
        self._weights = list(zip(kept.parameters(), module.parameters(), strict=True))
        self._buffers = list(zip(kept.buffers(), module.buffers(), strict=True))
        self._count: torch.Tensor = self.model.n_averaged

    def update(self) -> None:
        """Take in the weights of the module; the first ones are the average."""
        share = self._share if self._count.item() else 1.0
        with torch.no_grad():
            for mean, now in self._weights:
                mean.lerp_(now, share)
            for kept, last in self._buffers:
                kept.copy_(last)
            self._count.add_(1)


def train(
    course: TrainingModule,
    pace: TrainerConfig,
    *,
    seed: int,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
    told: Told | None = None,
) -> TrainingHistory:
    """Train a course's module in place and leave it with the weights of its best epoch.

    Every epoch draws from generators of its own, made from `seed` and its number: a run that
    goes on from a checkpoint equals one that was never interrupted. All processes of a group
    call this with the same course; what they leave is the same but for the running statistics
    of batch norm on CPUs, where the first process's count.

    Parameters
    ----------
    course : TrainingModule
    pace : TrainerConfig
    seed : int
        Order of the batches, dropout masks and random views.
    ranks : ProcessGroup, optional
        Place of this process; without it one process on the CPU.
    checkpoints : CheckpointStore, optional
        Kept after each epoch by the first process and gone on from; not cleared here.
    told : function, optional
        Called by the first process after each epoch.

    Raises
    ------
    TrialError
        The loss or the monitored value is not finite; the message says in which epoch.
    PreemptedError
        A machine of the group is about to be taken away; the last epoch is kept.
    """
    run = Trainer(course, pace, seed, ranks or ProcessGroup())
    run.resume(checkpoints)
    while not run.ended:
        run.epoch()
        if run.ranks.is_first and checkpoints is not None:
            checkpoints.save(run.state())
        if run.ranks.is_first and told is not None:
            told(len(run.losses), run.losses[-1], run.monitored[-1])
        if (
            checkpoints is not None
            and not run.ended
            and run.ranks.total([float(preemption_noticed())])[0]
        ):
            raise PreemptedError(LEAVING)
    return run.finish()


class TrainingState:
    """What a training has done so far, and the random numbers of each of its epochs."""

    def __init__(self, pace: TrainerConfig, seed: int) -> None:
        self.pace, self.seed = pace, seed
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
        return done >= self.pace.epochs or (
            done > 0 and done - self.best_epoch >= self.pace.patience
        )

    @property
    def history(self) -> TrainingHistory:
        """The course of the values, and the epoch that is kept."""
        return TrainingHistory(tuple(self.losses), tuple(self.monitored), self.best_epoch)

    def check_loss(self, loss: float, epoch: int) -> None:
        """Raise a TrialError unless a training loss is finite."""
        if not math.isfinite(loss):
            raise TrialError(
                f"the training loss became {loss} in epoch {epoch}; "
                "lower 'training.learning_rate' or look at the features"
            )

    def judge(self, value: float) -> bool:
        """Take in the monitored value of an epoch; return whether it is the best so far."""
        self.monitored.append(value)
        epoch = len(self.monitored)
        if not math.isfinite(value):
            raise TrialError(f"the validation value became {value} in epoch {epoch}")
        return self.best_epoch == epoch

    def drawn_from(self, *numbers: int) -> int:
        """Return the seed of an epoch, and of a process in it."""
        sequence = np.random.SeedSequence([self.seed, *numbers])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


class Trainer(TrainingState):
    """A training under way; everything that has to survive a kill is in `state`."""

    def __init__(
        self, course: TrainingModule, pace: TrainerConfig, seed: int, ranks: ProcessGroup
    ) -> None:
        super().__init__(pace, seed)
        self.course, self.ranks = course, ranks
        self.module = course.module.to(ranks.device)
        self.hold = FreezeSchedule(self.module)
        self.stepper = Stepper(course, pace.precision, pace.average, ranks)

    def epoch(self) -> None:
        """Train one epoch and validate; the best weights so far are kept."""
        epoch = 1 + len(self.losses)
        self.module.train()
        if self.hold(self.course.held(epoch)):
            self.stepper.wrap()
        seed = self.drawn_from(epoch, self.ranks.rank)
        with seeded(seed, devices=_cuda(self.ranks.device)):
            self.losses.append(self._train(epoch))
            value = self.course.measure(self.stepper.kept) if self.ranks.is_first else 0.0
        if self.judge(self.ranks.agree(value)):
            self.best = copy.deepcopy(self.stepper.kept.state_dict())

    def _train(self, epoch: int) -> float:
        """Take the steps of an epoch; return the mean loss."""
        generator = torch.Generator().manual_seed(self.drawn_from(epoch))
        rng = np.random.default_rng([self.seed, epoch, self.ranks.rank])
        batches = epoch_batches(self.course, generator, self.pace.epoch_steps)
        total, weights = 0.0, 0.0
        for number, rows in enumerate(batches):
            done = (epoch - 1 + number / len(batches)) / self.pace.epochs
            loss, weight = self.stepper(rows, rng, self.pace.schedule(done))
            self.check_loss(loss, epoch)
            total, weights = total + loss * weight, weights + weight
        return total / weights

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        history = {"losses": self.losses, "monitored": self.monitored, "best": self.best}
        return {"module": self.module.state_dict(), **self.stepper.state(), **history}

    def resume(self, checkpoints: CheckpointStore | None) -> None:
        """Go on from the last state, if there is one."""
        state = checkpoints.load() if checkpoints is not None else None
        epoch = len(state["losses"]) if state is not None else 0
        if self.ranks.total([epoch])[0] != epoch * self.ranks.size:
            raise StudyError(
                f"process {self.ranks.rank} reads a checkpoint of epoch {epoch} and others another "
                "one: every machine must see the same storage"
            )
        if state is not None:
            self.module.load_state_dict(state["module"])
            self.stepper.load(state)
            self.losses, self.monitored = list(state["losses"]), list(state["monitored"])
            self.best = state["best"]

    def finish(self) -> TrainingHistory:
        """Leave the module with its best weights, nothing held."""
        self.hold(())
        self.module.load_state_dict(self.best)
        return self.history


def epoch_batches(
    course: TrainingModule, generator: torch.Generator, fewest: int
) -> Sequence[Rows]:
    """Return the batches of an epoch: whole passes until there are `fewest` of them."""
    batches: list[Rows] = []
    while len(batches) < max(1, fewest):
        one_pass = list(course.batches(generator))
        if not one_pass:
            raise StudyError("there is nothing to train on: the course has no batch")
        batches += one_pass
    return batches


def _cuda(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
