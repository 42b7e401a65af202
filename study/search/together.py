"""Candidates of a search trained as one batched computation: for a device that one leaves idle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fusion._stacked import kind_of
from study.cells import TrialSpec
from study.errors import TrialError
from study.inputs import Inputs
from study.ranks import Ranks
from study.search.journal import Journal
from study.search.trainer import Candidate, Reached
from study.stacked_batched import train_together
from study.stacked_inputs import SharedInputs
from study.stacked_members import Member
from study.trial import made_ready

MOST = 64
"""Members of a stack: with their optimizers, 1 to 5 GB for heads of the published size."""


class Together:
    """A `Trainer` that stacks the candidates of one shape, each with numbers of its own.

    On a CPU this is slower than one after the other (see `study.stacked`). A candidate that goes
    on to a further rung is trained anew from its first epoch, which gives the same values: a
    stack that has let a member go cannot take it back.

    Parameters
    ----------
    trial : TrialSpec
        One that trains a head alone.
    inputs : Inputs
    shared : SharedInputs
        Embeddings that are ready: read once for all candidates.
    ranks : Ranks
        Place of this process, with its device.
    journal : Journal
    """

    def __init__(
        self, trial: TrialSpec, inputs: Inputs, shared: SharedInputs, ranks: Ranks, journal: Journal
    ) -> None:
        self._trial, self._inputs, self._shared = trial, inputs, shared
        self._ranks, self._journal = ranks, journal

    def __call__(self, candidates: Sequence[Candidate], epochs: int) -> list[Reached]:
        """Train until so many epochs in all, or until patience has run out."""
        known = {c.place: self._journal.known(_name(c, epochs)) for c in candidates}
        new = [candidate for candidate in candidates if known[candidate.place] is None]
        for candidate, reached in self._trained(new, epochs):
            self._journal.note(_name(candidate, epochs), reached)
            known[candidate.place] = reached
        return [reached for reached in known.values() if reached is not None]

    def _trained(
        self, candidates: Sequence[Candidate], epochs: int
    ) -> Iterator[tuple[Candidate, Reached]]:
        """Yield each candidate as it stops."""
        alike: dict[object, list[Member]] = {}
        whose: dict[Member, Candidate] = {}
        for candidate in candidates:
            try:
                member = self._member(candidate, epochs)
            except TrialError as error:
                yield candidate, Reached((), finished=False, cause=str(error))
                continue
            whose[member] = candidate
            kind = kind_of(member.ready.model), candidate.training.precision
            alike.setdefault(kind, []).append(member)
        for members in (some for every in alike.values() for some in _cut(every)):
            for member, failure in train_together(members, self._inputs, self._ranks.device):
                candidate = whose[member]
                yield candidate, _reached(member, failure, candidate.training.epochs)

    def _member(self, candidate: Candidate, epochs: int) -> Member:
        cell = replace(self._trial.cell, training=candidate.training, search=None)
        member = Member(made_ready(replace(self._trial, cell=cell), self._inputs, self._shared))
        member.pace = replace(member.pace, epochs=epochs)  # inner scores have all epochs
        return member


def _cut(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    for start in range(0, len(members), MOST):
        yield members[start : start + MOST]


def _name(candidate: Candidate, epochs: int) -> str:
    return f"candidate {candidate.place} to epoch {epochs}"


def _reached(member: Member, failure: TrialError | None, epochs: int) -> Reached:
    if failure is not None:
        return Reached((), finished=False, cause=str(failure))
    done = len(member.monitored)
    stopped = done - member.best_epoch >= member.pace.patience
    return Reached(tuple(member.monitored), finished=stopped or done >= epochs)
