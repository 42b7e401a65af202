"""Train and validate the configurations of a search inside one trial."""

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
    """Scores of the candidates of a search, stored in the checkpoint of their trial.

    A resumed search samples the same configurations again and takes the scores of finished ones
    from the journal.

    Parameters
    ----------
    checkpoints : CheckpointStore or None
        Store of the trial's checkpoints; None: nothing is stored.
    ranks : ProcessGroup
        Process group of the training; the first process writes, all of them read.

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
                f"process {ranks.rank} reads {known} results of a search and other processes read "
                "another number: every machine must see the same storage"
            )

    def score(self, name: str) -> ValidationScore | None:
        """Return the stored score of a candidate, or None."""
        stored = self._state["reached"].get(name)
        if stored is None:
            return None
        return ValidationScore(**{**stored, "monitored": tuple(stored["monitored"])})

    def add_score(self, name: str, score: ValidationScore) -> None:
        """Store the score of a candidate whose training has ended."""
        value = {**asdict(score), "monitored": list(score.monitored)}
        scores = {**self._state["reached"], name: value}
        self._write({"reached": scores, "name": "", "state": None})

    def checkpoints_for(self, name: str) -> CheckpointStore | None:
        """Return a store inside the journal for the checkpoints of one training."""
        return None if self.checkpoints is None else _JournalCheckpoints(self, name)

    def state(self, name: str) -> Mapping[str, Any] | None:
        """Return the last state of the training in progress, if it has this name."""
        return self._state["state"] if self._state["name"] == name else None

    def set_state(self, name: str, state: Mapping[str, Any] | None) -> None:
        """Store a state of the training in progress under its name."""
        self._write({**self._state, "name": name, "state": state})

    def _write(self, state: dict[str, Any]) -> None:
        self._state = state
        if self.checkpoints is not None and self._ranks.is_first:
            self.checkpoints.save(state)


@dataclass(frozen=True)
class _JournalCheckpoints:
    """Checkpoints of one training of a search, stored in its journal."""

    journal: SearchJournal
    name: str

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state of this training."""
        return self.journal.state(self.name)

    def save(self, state: Mapping[str, Any]) -> None:
        """Store a state."""
        self.journal.set_state(self.name, state)

    def clear(self) -> None:
        """Delete the state."""
        self.journal.set_state("", None)


class SequentialEvaluator:
    """A `ConfigurationTrainer` that trains one candidate after the other.

    Every candidate has the trial's seed, batches and initial weights. Candidates so differ in
    their hyperparameters alone, and the chosen one equals a trial that was configured with them.

    Parameters
    ----------
    trial : Trial
    data : StudyData
    shared : EncoderCache
        Cache of precomputed embeddings, read once for all candidates.
    ranks : ProcessGroup
        Process group of the training; all processes train the same candidates.
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
        self._trial, self._data, self._shared = trial, data, shared
        self._ranks, self._journal = ranks, journal
        self._trainers: dict[int, Trainer] = {}

    @property
    def unfinished(self) -> frozenset[int]:
        """Indices of the candidates whose training can continue."""
        return frozenset(self._trainers)

    def __call__(self, candidates: Sequence[Configuration], epochs: int) -> list[ValidationScore]:
        """Train each candidate up to an epoch, or until patience has run out."""
        remaining = {candidate.index for candidate in candidates}
        self._trainers = {i: t for i, t in self._trainers.items() if i in remaining}
        return [self._evaluate(candidate, epochs) for candidate in candidates]

    def _evaluate(self, candidate: Configuration, epochs: int) -> ValidationScore:
        """Return the score of a candidate, from the journal if it is known."""
        name = f"candidate {candidate.index} to epoch {epochs}"
        known = self._journal.score(name)
        if known is not None:
            return known
        try:
            score = self._train(candidate, name, epochs)
        except TrialError as error:
            score = ValidationScore((), finished=False, cause=str(error))
        self._journal.add_score(name, score)
        return score

    def _train(self, candidate: Configuration, name: str, epochs: int) -> ValidationScore:
        """Continue the training of a candidate up to an epoch."""
        # Only training of encoders takes long enough for a checkpoint after each epoch.
        checkpoints = (
            self._journal.checkpoints_for(name) if self._trial.arm.trains_encoders else None
        )
        trainer = self._trainers.pop(candidate.index, None) or self._start(candidate)
        trainer.resume(checkpoints)
        while not trainer.ended and len(trainer.monitored) < epochs:
            trainer.epoch()
            if checkpoints is not None and self._ranks.is_first:
                checkpoints.save(trainer.state())
        if not trainer.ended:
            self._trainers[candidate.index] = trainer
        return ValidationScore(tuple(trainer.monitored), finished=trainer.ended)

    def _start(self, candidate: Configuration) -> Trainer:
        """Build the trainer of a candidate, as for a trial configured with its hyperparameters."""
        config = candidate.training
        arm = replace(self._trial.arm, training=config, search=None)
        prepared = prepare_trial(replace(self._trial, arm=arm), self._data, self._shared)
        parts = prepared.training, prepared.validation
        module = _NaNTolerantModule(prepared.model, prepared.gather, *parts, config)
        return Trainer(module, to_trainer_config(config), self._trial.torch_seed, self._ranks)


class _NaNTolerantModule(SupervisedModule):
    """A `SupervisedModule` whose monitored value may be NaN.

    An exception on the first process, which alone validates, would leave the others waiting. NaN
    is broadcast, and so fails the candidate on every process.
    """

    def validate(self, module: nn.Module) -> float:
        """Return the monitored value; NaN if a score is not finite."""
        try:
            return super().validate(module)
        except TrialError:
            return math.nan
