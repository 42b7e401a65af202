"""Search methods: random, successive halving, TPE."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState, create_trial

from study.config.search import Domain, Range, Search, is_whole, written
from study.config.training import Training
from study.planning.search_budget import rungs_of
from study.results.search_log import Tried
from study.training.search.sampling import ATTEMPTS, Draws, Numbers, applied, key_of, plain


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


@dataclass(frozen=True)
class Task:
    """A search of one trial.

    Attributes
    ----------
    search : Search
    own : Training
        The arm's own numbers.
    felt : frozenset of str
        Training numbers that make a difference to the arm.
    seed : int
        Of the trial.
    """

    search: Search
    own: Training
    felt: frozenset[str]
    seed: int

    def candidate(self, place: int, numbers: Numbers) -> Candidate:
        """Return a configuration as something to train."""
        return Candidate(place, applied(numbers, self.own))


def spend(task: Task, trainer: Trainer) -> tuple[Tried, ...]:
    """Try as many configurations as the budget has, the arm's own numbers first."""
    draws = Draws(task.search, task.own, task.felt, task.seed)
    if task.search.method == "tpe":
        return suggested(task, draws, trainer)
    numbers = draws.several(task.search.budget)
    candidates = [task.candidate(place, each) for place, each in enumerate(numbers)]
    reached = halved(candidates, task, trainer)
    return tuple(tried(n, r) for n, r in zip(numbers, reached, strict=True))


def halved(candidates: Sequence[Candidate], task: Task, trainer: Trainer) -> list[Reached]:
    """Train all at once; or on the best third of what is left at each rung of a halving.

    The first candidate, the arm's own numbers, is never dropped: what is chosen is at least as
    good on the validation part as they are.
    """
    rungs = rungs_of(len(candidates), task.own.epochs)
    reached: dict[int, Reached] = {}
    left = list(candidates)
    for rung in rungs if task.search.method == "asha" else rungs[-1:]:
        left = _best(left, reached, rung.candidates)
        going = [c for c in left if c.place not in reached or _goes_on(reached[c.place])]
        found = trainer(going, rung.epochs)
        reached |= {c.place: each for c, each in zip(going, found, strict=True)}
    return [reached[candidate.place] for candidate in candidates]


def _goes_on(reached: Reached) -> bool:
    return not reached.finished and not reached.cause


def _best(left: Sequence[Candidate], reached: Mapping[int, Reached], count: int) -> list[Candidate]:
    """Return the best candidates in the order of the draws, the first one among them."""
    if not reached:
        return list(left)
    able = [c for c in left if not reached[c.place].cause]
    ranked = sorted(able, key=lambda c: -max(reached[c.place].monitored))
    places = {c.place for c in ranked[:count]} | {0}
    return [c for c in able if c.place in places]


def tried(numbers: Numbers, reached: Reached) -> Tried:
    """Return a configuration with what it reached."""
    return Tried(numbers, reached.monitored, reached.finished, reached.cause)


def felt_numbers(search: Search, inert: Collection[str]) -> frozenset[str]:
    """Return the searched numbers without those that an arm does not feel."""
    return frozenset(search.space) - frozenset(inert)


def suggested(task: Task, draws: Draws, trainer: Trainer) -> tuple[Tried, ...]:
    """Try the arm's own numbers, then what the sampler suggests, one after the other.

    A suggestion that was tried already is answered at once with its value and costs nothing;
    where only such ones come, a random draw takes their place.
    """
    sampler = _Sampler(draws.space, sampler_seed(task.search.seed, task.seed))
    known: dict[str, Tried] = {}
    numbers: Numbers | None = draws.first
    asked: Trial | None = None
    while numbers is not None:
        reached = trainer([task.candidate(len(known), numbers)], task.own.epochs)
        known[key_of(numbers)] = found = tried(numbers, reached[0])
        sampler.tell(found, asked)
        if len(known) == task.search.budget or not draws.space:
            break
        numbers, asked = _next(sampler, draws, known)
    return tuple(known.values())


def _next(
    sampler: _Sampler, draws: Draws, known: Mapping[str, Tried]
) -> tuple[Numbers | None, Trial | None]:
    """Return a configuration that was not tried, and the trial of the sampler it belongs to."""
    for _ in range(ATTEMPTS):
        numbers, asked = sampler.ask()
        if draws.new(numbers):
            return numbers, asked
        sampler.tell(known[key_of(numbers)], asked)
    return draws.draw(), None


class _Sampler:
    """An Optuna study in memory."""

    def __init__(self, space: Mapping[str, Domain], seed: int) -> None:
        self._space = space
        self._distributions = {name: distribution(name, d) for name, d in space.items()}
        with _quiet():
            sampler = TPESampler(seed=seed)
            self._study = optuna.create_study(sampler=sampler, direction="maximize")

    def ask(self) -> tuple[Numbers, Trial]:
        """Return a suggestion."""
        trial = self._study.ask(fixed_distributions=self._distributions)
        return decoded(trial.params, self._space), trial

    def tell(self, found: Tried, asked: Trial | None) -> None:
        """Answer a suggestion; or tell of a configuration that was none, if it is in the space."""
        state = TrialState.FAIL if found.value is None else TrialState.COMPLETE
        if asked is not None:
            self._study.tell(asked, found.value, state=state)
            return
        params = encoded(found.numbers, self._space)
        if params is not None:
            self._study.add_trial(
                create_trial(
                    state=state,
                    value=found.value,
                    params=params,
                    distributions=self._distributions,
                )
            )


def sampler_seed(search_seed: int, trial_seed: int) -> int:
    """Return the seed of the sampler of one trial."""
    return int(np.random.SeedSequence([search_seed, trial_seed]).generate_state(1)[0])


def distribution(name: str, domain: Domain) -> BaseDistribution:
    """Return the distribution that Ray Tune's wrapper would make of the values of a number."""
    if not isinstance(domain, Range):
        return CategoricalDistribution(tuple(range(len(domain))))
    log = domain.scale == "log"
    if is_whole(name):
        return IntDistribution(int(domain.low), int(domain.high), log=log)
    return FloatDistribution(domain.low, domain.high, log=log)


def decoded(params: Mapping[str, Any], space: Mapping[str, Domain]) -> Numbers:
    """Return a suggestion as a study file writes it; of a list, the sampler knows the places."""
    return {
        name: written(name, params[name])
        if isinstance(domain, Range)
        else plain(domain[params[name]])
        for name, domain in space.items()
    }


def encoded(numbers: Numbers, space: Mapping[str, Domain]) -> dict[str, Any] | None:
    """Return a configuration as the sampler has it; None if it lies outside the space."""
    found: dict[str, Any] = {}
    for name, domain in space.items():
        value = numbers[name]
        if not isinstance(domain, Range):
            places = [i for i, each in enumerate(domain) if plain(each) == value]
        else:
            single = value[0] if isinstance(value, list) and len(value) == 1 else value
            inside = isinstance(single, int | float) and domain.low <= single <= domain.high
            places = [single] if inside else []
        if not places:
            return None
        found[name] = places[0]
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a study in memory; the caller's setting comes back."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
