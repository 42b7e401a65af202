"""Configurations that a hyperparameter search tried; stored in the record of the trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.errors import TrialError


@dataclass(frozen=True)
class SearchCandidate:
    """One configuration of a hyperparameter search.

    Attributes
    ----------
    numbers : mapping of str to value
        Values of the searched hyperparameters, written as in a study file.
    monitored : tuple of float
        Validation value after each epoch; higher is better.
    finished : bool
        Whether training ran through all epochs or was stopped early by patience; False for a
        candidate that successive halving dropped.
    cause : str
        Why training failed, or ''.
    """

    numbers: Mapping[str, Any]
    monitored: tuple[float, ...] = ()
    finished: bool = False
    cause: str = ""

    @property
    def value(self) -> float | None:
        """Best validation value; None if training failed."""
        return max(self.monitored) if self.monitored and not self.cause else None

    @property
    def epochs(self) -> int:
        """Number of epochs trained."""
        return len(self.monitored)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "numbers": dict(self.numbers), "monitored": list(self.monitored)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchCandidate:
        """Rebuild what `to_json` wrote."""
        return cls(**{**value, "monitored": tuple(value["monitored"])})


@dataclass(frozen=True)
class SearchLog:
    """The hyperparameter search of one trial.

    Attributes
    ----------
    method : str
    budget : int
        Number of configurations allowed.
    monitor : str
        The validation value: ``auroc``, or ``loss`` with the sign reversed.
    tried : tuple of SearchCandidate
        In the order drawn; the first has the arm's own hyperparameters. Fewer than the budget
        only if so few of the hyperparameters affect the arm that no more distinct
        configurations exist.
    chosen : int
        Index of the best candidate in `tried`.
    seconds : float
        Wall time of the search, without the final fit of the chosen configuration.
    """

    method: str
    budget: int
    monitor: str
    tried: tuple[SearchCandidate, ...]
    chosen: int
    seconds: float

    @property
    def epochs(self) -> int:
        """Total number of epochs trained over all configurations."""
        return sum(candidate.epochs for candidate in self.tried)

    @property
    def winner(self) -> SearchCandidate:
        """The chosen configuration."""
        return self.tried[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "tried": [candidate.to_json() for candidate in self.tried]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchLog:
        """Rebuild what `to_json` wrote."""
        return cls(**{**value, "tried": tuple(map(SearchCandidate.from_json, value["tried"]))})


def find_best_index(tried: Sequence[SearchCandidate]) -> int:
    """Return the index of the candidate with the highest validation value.

    Ties go to a candidate that finished training, then to the earlier one, so that the arm's own
    hyperparameters are replaced only by better ones.

    Raises
    ------
    TrialError
        Training failed for every candidate; the message has the cause of the first one.
    """
    trained = [i for i, candidate in enumerate(tried) if candidate.value is not None]
    if not trained:
        raise TrialError(
            f"none of {len(tried)} configurations could be trained; with the arm's own "
            f"hyperparameters: {tried[0].cause}"
        )
    return max(trained, key=lambda i: (tried[i].value, tried[i].finished, -i))
