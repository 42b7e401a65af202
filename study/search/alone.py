"""Candidates of a search trained one after the other, as trials of their own would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from study.cells import TrialSpec
from study.errors import TrialError
from study.inputs import Inputs
from study.loop import Run
from study.ranks import Ranks
from study.search.journal import Journal
from study.search.trainer import Candidate, Reached
from study.stacked_inputs import SharedInputs
from study.training import Labelled, pace_of
from study.trial import made_ready


class Alone:
    """A `Trainer` that gives every candidate its turn.

    A candidate has the seed, the batches and the starting weights of the trial: candidates
    differ in their numbers alone, and the chosen one is what a trial with its numbers would be.

    Parameters
    ----------
    trial : TrialSpec
    inputs : Inputs
    shared : SharedInputs
        Embeddings that are ready: read once for all candidates.
    ranks : Ranks
        Place of this process; all processes of a group train the same candidates.
    journal : Journal
    """

    def __init__(
        self, trial: TrialSpec, inputs: Inputs, shared: SharedInputs, ranks: Ranks, journal: Journal
    ) -> None:
        self._trial, self._inputs, self._shared = trial, inputs, shared
        self._ranks, self._journal = ranks, journal
        self._runs: dict[int, Run] = {}

    def __call__(self, candidates: Sequence[Candidate], epochs: int) -> list[Reached]:
        """Train until so many epochs in all, or until patience has run out."""
        named = {candidate.place for candidate in candidates}
        self._runs = {place: run for place, run in self._runs.items() if place in named}
        return [self._reached(candidate, epochs) for candidate in candidates]

    def _reached(self, candidate: Candidate, epochs: int) -> Reached:
        name = f"candidate {candidate.place} to epoch {epochs}"
        known = self._journal.known(name)
        if known is not None:
            return known
        try:
            reached = self._trained(candidate, name, epochs)
        except TrialError as error:
            reached = Reached((), finished=False, cause=str(error))
        self._journal.note(name, reached)
        return reached

    def _trained(self, candidate: Candidate, name: str, epochs: int) -> Reached:
        """Train one candidate on; only encoders take so long that each epoch is kept."""
        kept = self._journal.under_way(name) if self._trial.cell.joint else None
        run = self._runs.pop(candidate.place, None) or self._begun(candidate)
        run.resume(kept)
        while not run.ended and len(run.monitored) < epochs:
            run.epoch()
            if kept is not None and self._ranks.is_first:
                kept.save(run.state())
        if not run.ended:
            self._runs[candidate.place] = run
        return Reached(tuple(run.monitored), finished=run.ended)

    def _begun(self, candidate: Candidate) -> Run:
        """Begin the training of a candidate: as that of a trial which was given its numbers."""
        numbers = candidate.training
        cell = replace(self._trial.cell, training=numbers, search=None)
        ready = made_ready(replace(self._trial, cell=cell), self._inputs, self._shared)
        parts = ready.training, ready.validation
        course = _Unbroken(ready.model, ready.gather, *parts, numbers)
        return Run(course, pace_of(numbers), self._trial.torch_seed, self._ranks)


class _Unbroken(Labelled):
    """A course whose scores may be NaN: every process hears of it, not the first one alone."""

    def measure(self, module: nn.Module) -> float:
        """Return the monitored value; NaN where a score is not finite."""
        try:
            return super().measure(module)
        except TrialError:
            return math.nan
