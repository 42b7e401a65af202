"""Search methods: random, successive halving, TPE."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from study.config.search import SearchConfig
from study.config.training import TrainingConfig
from study.planning.search_budget import build_rungs
from study.results.search_log import SearchCandidate
from study.training.search.sampling import ConfigurationSampler, Numbers, apply_values


@dataclass(frozen=True)
class Configuration:
    """One configuration under training.

    Attributes
    ----------
    place : int
        Its place in the order of the draws.
    training : TrainingConfig
        All of its numbers.
    """

    place: int
    training: TrainingConfig


@dataclass(frozen=True)
class ValidationScore:
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

    def as_candidate(self, numbers: Numbers) -> SearchCandidate:
        """Return the entry of the search log of a configuration that came so far."""
        return SearchCandidate(numbers, self.monitored, self.finished, self.cause)


class ConfigurationTrainer(Protocol):
    """Trains candidates on the training part of a fold, and validates them on its inner part.

    A candidate that was trained before goes on from where it was; one that is not named in a
    later call is dropped, and what was kept of it with it.
    """

    def __call__(
        self, candidates: Sequence[Configuration], epochs: int
    ) -> Sequence[ValidationScore]:
        """Train until so many epochs in all, or until patience has run out."""


@dataclass(frozen=True)
class SearchTask:
    """A search of one trial.

    Attributes
    ----------
    search : SearchConfig
    own : TrainingConfig
        The arm's own numbers.
    felt : frozenset of str
        Training numbers that make a difference to the arm.
    seed : int
        Of the trial.
    """

    search: SearchConfig
    own: TrainingConfig
    felt: frozenset[str]
    seed: int

    def candidate(self, place: int, numbers: Numbers) -> Configuration:
        """Return a configuration as something to train."""
        return Configuration(place, apply_values(numbers, self.own))


def run_search(task: SearchTask, trainer: ConfigurationTrainer) -> tuple[SearchCandidate, ...]:
    """Try as many configurations as the budget has, the arm's own numbers first."""
    sampler = ConfigurationSampler(task.search, task.own, task.felt, task.seed)
    if task.search.method == "asha":
        return successive_halving(task, sampler.several(task.search.budget), trainer)
    tried: list[SearchCandidate] = []
    while len(tried) < task.search.budget and (suggestion := sampler.ask()) is not None:
        candidate = task.candidate(len(tried), suggestion.numbers)
        (reached,) = trainer([candidate], task.own.epochs)
        tried.append(reached.as_candidate(suggestion.numbers))
        sampler.tell(suggestion, tried[-1].value)
    return tuple(tried)


def successive_halving(
    task: SearchTask, numbers: Sequence[Numbers], trainer: ConfigurationTrainer
) -> tuple[SearchCandidate, ...]:
    """Train configurations side by side; at each rung the best third of them goes on.

    The first one, the arm's own numbers, is never dropped: what is chosen is at least as good on
    the validation part as they are. Optuna's `SuccessiveHalvingPruner` decides about a trial as
    soon as it reaches a rung, against those that were there before it; where one candidate is
    trained after the other, more of them would go on than the rungs that a plan counts.
    """
    left = [task.candidate(place, each) for place, each in enumerate(numbers)]
    reached: dict[int, ValidationScore] = {}
    for rung in build_rungs(len(left), task.own.epochs):
        left = _best(left, reached, rung.candidates)
        going = [c for c in left if c.place not in reached or _goes_on(reached[c.place])]
        found = trainer(going, rung.epochs)
        reached |= {c.place: each for c, each in zip(going, found, strict=True)}
    return tuple(reached[place].as_candidate(each) for place, each in enumerate(numbers))


def _goes_on(reached: ValidationScore) -> bool:
    return not reached.finished and not reached.cause


def _best(
    left: Sequence[Configuration], reached: Mapping[int, ValidationScore], count: int
) -> list[Configuration]:
    """Return the best candidates in the order of the draws, the first one among them."""
    if not reached:
        return list(left)
    able = [c for c in left if not reached[c.place].cause]
    ranked = sorted(able, key=lambda c: -max(reached[c.place].monitored))
    places = {c.place for c in ranked[:count]} | {0}
    return [c for c in able if c.place in places]


def sensitive_parameters(search: SearchConfig, inert: Collection[str]) -> frozenset[str]:
    """Return the searched numbers without those that an arm does not feel."""
    return frozenset(search.space) - frozenset(inert)
