"""What a search tried, and what it took: kept in the record of the trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.errors import TrialError


@dataclass(frozen=True)
class SearchCandidate:
    """One configuration of a search.

    Attributes
    ----------
    numbers : mapping of str to value
        Of the searched numbers, as a study file writes them.
    monitored : tuple of float
        Validation value after each epoch; the larger, the better.
    finished : bool
        Trained to its end: all epochs, or no patience left. A dropped one is not.
    cause : str
        Why its training broke down; empty if it did not.
    """

    numbers: Mapping[str, Any]
    monitored: tuple[float, ...] = ()
    finished: bool = False
    cause: str = ""

    @property
    def value(self) -> float | None:
        """The best validation value that it came to; None if its training broke down."""
        return max(self.monitored) if self.monitored and not self.cause else None

    @property
    def epochs(self) -> int:
        """Epochs that it was trained."""
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
    """A whole search of one trial.

    Attributes
    ----------
    method : str
    budget : int
        Configurations that were granted.
    monitor : str
        The validation value: ``auroc``, or ``loss`` with its sign turned.
    tried : tuple of SearchCandidate
        In the order in which they were drawn; the first has the arm's own numbers. Fewer than
        the budget only where the arm feels so few of the numbers that no more are distinct.
    chosen : int
        The place of the best one in `tried`.
    seconds : float
        Wall time of the search, without the fit of the chosen numbers.
    """

    method: str
    budget: int
    monitor: str
    tried: tuple[SearchCandidate, ...]
    chosen: int
    seconds: float

    @property
    def epochs(self) -> int:
        """Epochs that the search trained, all configurations together."""
        return sum(each.epochs for each in self.tried)

    @property
    def winner(self) -> SearchCandidate:
        """The chosen configuration."""
        return self.tried[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "tried": [each.to_json() for each in self.tried]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchLog:
        """Rebuild what `to_json` wrote."""
        return cls(**{**value, "tried": tuple(map(SearchCandidate.from_json, value["tried"]))})


def best_index(tried: Sequence[SearchCandidate]) -> int:
    """Return the place of the largest validation value.

    Of equals the one that was trained to its end counts, then the earlier one: the arm's own
    numbers give way only to better ones.

    Raises
    ------
    TrialError
        Every training broke down; the message has the cause of the first one.
    """
    able = [i for i, each in enumerate(tried) if each.value is not None]
    if not able:
        raise TrialError(
            f"none of {len(tried)} configurations could be trained; the arm's own numbers: "
            f"{tried[0].cause}"
        )
    return max(able, key=lambda i: (tried[i].value, tried[i].finished, -i))
