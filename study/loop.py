"""One resumable training loop for fits with labels and for pretraining without any."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fusion import seeded
from study.checkpoints import Checkpoints
from study.course import Course, History, Pace, Rows, Told
from study.errors import StudyError, TrialError
from study.holding import Hold
from study.notice import LEAVING, LeavingError, given
from study.ranks import Ranks
from study.steps import Stepper


def train(
    course: Course,
    pace: Pace,
    *,
    seed: int,
    ranks: Ranks | None = None,
    checkpoints: Checkpoints | None = None,
    told: Told | None = None,
) -> History:
    """Train a course's module in place and leave it with the weights of its best epoch.

    Every epoch draws from generators of its own, made from `seed` and its number: a run that
    goes on from a checkpoint equals one that was never interrupted. All processes of a group
    call this with the same course; what they leave is the same but for the running statistics
    of batch norm on CPUs, where the first process's count.

    Parameters
    ----------
    course : Course
    pace : Pace
    seed : int
        Order of the batches, dropout masks and random views.
    ranks : Ranks, optional
        Place of this process; without it one process on the CPU.
    checkpoints : Checkpoints, optional
        Kept after each epoch by the first process and gone on from; not cleared here.
    told : function, optional
        Called by the first process after each epoch.

    Raises
    ------
    TrialError
        The loss or the monitored value is not finite; the message says in which epoch.
    LeavingError
        A machine of the group is about to be taken away; the last epoch is kept.
    """
    run = Run(course, pace, seed, ranks or Ranks())
    run.resume(checkpoints)
    while not run.ended:
        run.epoch()
        if run.ranks.is_first and checkpoints is not None:
            checkpoints.save(run.state())
        if run.ranks.is_first and told is not None:
            told(len(run.losses), run.losses[-1], run.monitored[-1])
        if checkpoints is not None and not run.ended and run.ranks.total([float(given())])[0]:
            raise LeavingError(LEAVING)
    return run.finish()


class Diary:
    """What a training has done so far, and the random numbers of each of its epochs."""

    def __init__(self, pace: Pace, seed: int) -> None:
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
    def history(self) -> History:
        """The course of the values, and the epoch that is kept."""
        return History(tuple(self.losses), tuple(self.monitored), self.best_epoch)

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


class Run(Diary):
    """A training under way; everything that has to survive a kill is in `state`."""

    def __init__(self, course: Course, pace: Pace, seed: int, ranks: Ranks) -> None:
        super().__init__(pace, seed)
        self.course, self.ranks = course, ranks
        self.module = course.module.to(ranks.device)
        self.hold = Hold(self.module)
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
        batches = joined(self.course, generator, self.pace.epoch_steps)
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

    def resume(self, checkpoints: Checkpoints | None) -> None:
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

    def finish(self) -> History:
        """Leave the module with its best weights, nothing held."""
        self.hold(())
        self.module.load_state_dict(self.best)
        return self.history


def joined(course: Course, generator: torch.Generator, fewest: int) -> Sequence[Rows]:
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
