"""Evaluate the configurations of a search inside one trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from study.artifacts.study_data import StudyData
from study.errors import StudyError, TrialError
from study.planning.trials import Trial
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.encoders import EncoderCache
from study.training.search.methods import Configuration, ValidationScore
from study.training.supervised import SupervisedModule, to_trainer_config
from study.training.trainer import Trainer
from study.training.trial import prepare_trial

REFIT = "the chosen numbers"


class SearchJournal:
    """Results of candidates in the checkpoint of their trial; nothing is kept without one.

    A resumed search draws the same configurations again, and takes what is known of them from
    here.

    Parameters
    ----------
    checkpoints : CheckpointStore or None
        Of the trial.
    ranks : ProcessGroup
        Place of this process; the first one writes, all of them read.

    Raises
    ------
    StudyError
        The processes read different journals.
    """

    def __init__(self, checkpoints: CheckpointStore | None, ranks: ProcessGroup) -> None:
        self.checkpoints, self._ranks = checkpoints, ranks
        state = checkpoints.load() if checkpoints is not None else None
        self._state: dict[str, Any] = dict(state or {"reached": {}, "name": "", "state": None})
        known = len(self._state["reached"])
        if ranks.total([known])[0] != known * ranks.size:
            raise StudyError(
                f"process {ranks.rank} reads {known} results of a search and others another "
                "number: every machine must see the same storage"
            )

    def known(self, name: str) -> ValidationScore | None:
        """Return what a candidate reached before."""
        found = self._state["reached"].get(name)
        return (
            ValidationScore(**{**found, "monitored": tuple(found["monitored"])}) if found else None
        )

    def note(self, name: str, reached: ValidationScore) -> None:
        """Keep what a candidate reached; its training is over."""
        plain = {**asdict(reached), "monitored": list(reached.monitored)}
        results = {**self._state["reached"], name: plain}
        self._write({"reached": results, "name": "", "state": None})

    def under_way(self, name: str) -> CheckpointStore | None:
        """Return the place of the checkpoints of one training inside the journal."""
        return None if self.checkpoints is None else _Inner(self, name)

    def state_of(self, name: str) -> Mapping[str, Any] | None:
        """Return the last state of the training under way, if it has this name."""
        return self._state["state"] if self._state["name"] == name else None

    def keep(self, name: str, state: Mapping[str, Any] | None) -> None:
        """Keep a state of the training of this name."""
        self._write({**self._state, "name": name, "state": state})

    def _write(self, state: dict[str, Any]) -> None:
        self._state = state
        if self.checkpoints is not None and self._ranks.is_first:
            self.checkpoints.save(state)


@dataclass(frozen=True)
class _Inner:
    """Checkpoints of one training of a search."""

    journal: SearchJournal
    name: str

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state of this training."""
        return self.journal.state_of(self.name)

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state."""
        self.journal.keep(self.name, state)

    def clear(self) -> None:
        """Forget it."""
        self.journal.keep("", None)


class SequentialEvaluator:
    """A `ConfigurationTrainer` that gives every candidate its turn.

    A candidate has the seed, the batches and the starting weights of the trial: candidates
    differ in their numbers alone, and the chosen one is what a trial with its numbers would be.

    Parameters
    ----------
    trial : Trial
    data : StudyData
    shared : EncoderCache
        Embeddings that are ready: read once for all candidates.
    ranks : ProcessGroup
        Place of this process; all processes of a group train the same candidates.
    journal : SearchJournal
    """

    def __init__(
        self,
        trial: Trial,
        data: StudyData,
        shared: EncoderCache,
        ranks: ProcessGroup,
        journal: SearchJournal,
    ) -> None:
        self._trial, self._inputs, self._shared = trial, data, shared
        self._ranks, self._journal = ranks, journal
        self._runs: dict[int, Trainer] = {}

    def __call__(self, candidates: Sequence[Configuration], epochs: int) -> list[ValidationScore]:
        """Train until so many epochs in all, or until patience has run out."""
        named = {candidate.place for candidate in candidates}
        self._runs = {place: run for place, run in self._runs.items() if place in named}
        return [self._reached(candidate, epochs) for candidate in candidates]

    def _reached(self, candidate: Configuration, epochs: int) -> ValidationScore:
        name = f"candidate {candidate.place} to epoch {epochs}"
        known = self._journal.known(name)
        if known is not None:
            return known
        try:
            reached = self._trained(candidate, name, epochs)
        except TrialError as error:
            reached = ValidationScore((), finished=False, cause=str(error))
        self._journal.note(name, reached)
        return reached

    def _trained(self, candidate: Configuration, name: str, epochs: int) -> ValidationScore:
        """Train one candidate on; only encoders take so long that each epoch is kept."""
        kept = self._journal.under_way(name) if self._trial.arm.joint else None
        run = self._runs.pop(candidate.place, None) or self._begun(candidate)
        run.resume(kept)
        while not run.ended and len(run.monitored) < epochs:
            run.epoch()
            if kept is not None and self._ranks.is_first:
                kept.save(run.state())
        if not run.ended:
            self._runs[candidate.place] = run
        return ValidationScore(tuple(run.monitored), finished=run.ended)

    def _begun(self, candidate: Configuration) -> Trainer:
        """Begin the training of a candidate: as that of a trial which was given its numbers."""
        numbers = candidate.training
        arm = replace(self._trial.arm, training=numbers, search=None)
        ready = prepare_trial(replace(self._trial, arm=arm), self._inputs, self._shared)
        parts = ready.training, ready.validation
        course = _Unbroken(ready.model, ready.gather, *parts, numbers)
        return Trainer(course, to_trainer_config(numbers), self._trial.torch_seed, self._ranks)


class _Unbroken(SupervisedModule):
    """A course whose scores may be NaN: every process hears of it, not the first one alone."""

    def measure(self, module: nn.Module) -> float:
        """Return the monitored value; NaN where a score is not finite."""
        try:
            return super().measure(module)
        except TrialError:
            return math.nan
