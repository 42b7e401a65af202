"""The contract between a search and what trains its configurations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from study.numbers import Training


@dataclass(frozen=True)
class Candidate:
    """One configuration under training.

    Attributes
    ----------
    place : int
        Its place in the order of the draws.
    training : Training
        All of its numbers.
    """

    place: int
    training: Training


@dataclass(frozen=True)
class Reached:
    """How far a candidate has come.

    Attributes
    ----------
    monitored : tuple of float
        Validation value after each epoch from the first one on.
    finished : bool
        Whether patience has run out, or all epochs are done.
    cause : str
        Why its training broke down; empty if it did not.
    """

    monitored: tuple[float, ...]
    finished: bool
    cause: str = ""


class Trainer(Protocol):
    """Trains candidates on the training part of a fold, and validates them on its inner part.

    A candidate that was trained before goes on from where it was; one that is not named in a
    later call is dropped, and what was kept of it with it.
    """

    def __call__(self, candidates: Sequence[Candidate], epochs: int) -> Sequence[Reached]:
        """Train until so many epochs in all, or until patience has run out."""
