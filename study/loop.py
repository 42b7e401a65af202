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
    """
    run = _Run(course, pace, seed, ranks or Ranks())
    run.resume(checkpoints)
    while not run.ended:
        run.epoch()
        if run.ranks.is_first and checkpoints is not None:
            checkpoints.save(run.state())
        if run.ranks.is_first and told is not None:
            told(len(run.losses), run.losses[-1], run.monitored[-1])
    return run.finish()


class _Run:
    """A training under way; everything that has to survive a kill is in `state`."""

    def __init__(self, course: Course, pace: Pace, seed: int, ranks: Ranks) -> None:
        self.course, self.pace, self.seed, self.ranks = course, pace, seed, ranks
        self.module = course.module.to(ranks.device)
        self.hold = Hold(self.module)
        self.stepper = Stepper(course, pace.precision, pace.average, ranks)
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

    def epoch(self) -> None:
        """Train one epoch and validate; the best weights so far are kept."""
        epoch = 1 + len(self.losses)
        self.module.train()
        if self.hold(self.course.held(epoch)):
            self.stepper.wrap()
        with seeded(self._seed(epoch, self.ranks.rank), devices=_cuda(self.ranks.device)):
            self.losses.append(self._train(epoch))
            value = self.course.measure(self.stepper.kept) if self.ranks.is_first else 0.0
        self.monitored.append(self.ranks.agree(value))
        if not math.isfinite(self.monitored[-1]):
            raise TrialError(f"the validation value became {self.monitored[-1]} in epoch {epoch}")
        if self.best_epoch == epoch:
            self.best = copy.deepcopy(self.stepper.kept.state_dict())

    def _train(self, epoch: int) -> float:
        """Take the steps of an epoch; return the mean loss."""
        generator = torch.Generator().manual_seed(self._seed(epoch))
        rng = np.random.default_rng([self.seed, epoch, self.ranks.rank])
        batches = joined(self.course, generator, self.pace.epoch_steps)
        total, weights = 0.0, 0.0
        for number, rows in enumerate(batches):
            done = (epoch - 1 + number / len(batches)) / self.pace.epochs
            loss, weight = self.stepper(rows, rng, self.pace.schedule(done))
            if not math.isfinite(loss):
                raise TrialError(
                    f"the training loss became {loss} in epoch {epoch}; "
                    "lower 'training.learning_rate' or look at the features"
                )
            total, weights = total + loss * weight, weights + weight
        return total / weights

    def _seed(self, *numbers: int) -> int:
        sequence = np.random.SeedSequence([self.seed, *numbers])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

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
        return History(tuple(self.losses), tuple(self.monitored), self.best_epoch)


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
