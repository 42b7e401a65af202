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

from study.config.search import Domain, SearchConfig, SearchRange, is_whole, to_plain, written_value
from study.config.training import TrainingConfig
from study.planning.search_budget import build_rungs
from study.results.search_log import SearchCandidate
from study.training.search.sampling import (
    ATTEMPTS,
    ConfigurationSampler,
    Numbers,
    apply_values,
    configuration_key,
)


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
    draws = ConfigurationSampler(task.search, task.own, task.felt, task.seed)
    if task.search.method == "tpe":
        return suggest(task, draws, trainer)
    numbers = draws.several(task.search.budget)
    candidates = [task.candidate(place, each) for place, each in enumerate(numbers)]
    reached = successive_halving(candidates, task, trainer)
    return tuple(tpe_search(n, r) for n, r in zip(numbers, reached, strict=True))


def successive_halving(
    candidates: Sequence[Configuration], task: SearchTask, trainer: ConfigurationTrainer
) -> list[ValidationScore]:
    """Train all at once; or on the best third of what is left at each rung of a halving.

    The first candidate, the arm's own numbers, is never dropped: what is chosen is at least as
    good on the validation part as they are.
    """
    rungs = build_rungs(len(candidates), task.own.epochs)
    reached: dict[int, ValidationScore] = {}
    left = list(candidates)
    for rung in rungs if task.search.method == "asha" else rungs[-1:]:
        left = _best(left, reached, rung.candidates)
        going = [c for c in left if c.place not in reached or _goes_on(reached[c.place])]
        found = trainer(going, rung.epochs)
        reached |= {c.place: each for c, each in zip(going, found, strict=True)}
    return [reached[candidate.place] for candidate in candidates]


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


def tpe_search(numbers: Numbers, reached: ValidationScore) -> SearchCandidate:
    """Return a configuration with what it reached."""
    return SearchCandidate(numbers, reached.monitored, reached.finished, reached.cause)


def sensitive_parameters(search: SearchConfig, inert: Collection[str]) -> frozenset[str]:
    """Return the searched numbers without those that an arm does not feel."""
    return frozenset(search.space) - frozenset(inert)


def suggest(
    task: SearchTask, draws: ConfigurationSampler, trainer: ConfigurationTrainer
) -> tuple[SearchCandidate, ...]:
    """Try the arm's own numbers, then what the sampler suggests, one after the other.

    A suggestion that was tried already is answered at once with its value and costs nothing;
    where only such ones come, a random draw takes their place.
    """
    sampler = _Sampler(draws.space, sampler_seed(task.search.seed, task.seed))
    known: dict[str, SearchCandidate] = {}
    numbers: Numbers | None = draws.first
    asked: Trial | None = None
    while numbers is not None:
        reached = trainer([task.candidate(len(known), numbers)], task.own.epochs)
        known[configuration_key(numbers)] = found = tpe_search(numbers, reached[0])
        sampler.tell(found, asked)
        if len(known) == task.search.budget or not draws.space:
            break
        numbers, asked = _next(sampler, draws, known)
    return tuple(known.values())


def _next(
    sampler: _Sampler, draws: ConfigurationSampler, known: Mapping[str, SearchCandidate]
) -> tuple[Numbers | None, Trial | None]:
    """Return a configuration that was not tried, and the trial of the sampler it belongs to."""
    for _ in range(ATTEMPTS):
        numbers, asked = sampler.ask()
        if draws.new(numbers):
            return numbers, asked
        sampler.tell(known[configuration_key(numbers)], asked)
    return draws.draw(), None


class _Sampler:
    """An Optuna study in memory."""

    def __init__(self, space: Mapping[str, Domain], seed: int) -> None:
        self._space = space
        self._distributions = {name: to_distribution(name, d) for name, d in space.items()}
        with _quiet():
            sampler = TPESampler(seed=seed)
            self._study = optuna.create_study(sampler=sampler, direction="maximize")

    def ask(self) -> tuple[Numbers, Trial]:
        """Return a suggestion."""
        trial = self._study.ask(fixed_distributions=self._distributions)
        return decode(trial.params, self._space), trial

    def tell(self, found: SearchCandidate, asked: Trial | None) -> None:
        """Answer a suggestion; or tell of a configuration that was none, if it is in the space."""
        state = TrialState.FAIL if found.value is None else TrialState.COMPLETE
        if asked is not None:
            self._study.tell(asked, found.value, state=state)
            return
        params = encode(found.numbers, self._space)
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


def to_distribution(name: str, domain: Domain) -> BaseDistribution:
    """Return the distribution that Ray Tune's wrapper would make of the values of a number."""
    if not isinstance(domain, SearchRange):
        return CategoricalDistribution(tuple(range(len(domain))))
    log = domain.scale == "log"
    if is_whole(name):
        return IntDistribution(int(domain.low), int(domain.high), log=log)
    return FloatDistribution(domain.low, domain.high, log=log)


def decode(params: Mapping[str, Any], space: Mapping[str, Domain]) -> Numbers:
    """Return a suggestion as a study file writes it; of a list, the sampler knows the places."""
    return {
        name: written_value(name, params[name])
        if isinstance(domain, SearchRange)
        else to_plain(domain[params[name]])
        for name, domain in space.items()
    }


def encode(numbers: Numbers, space: Mapping[str, Domain]) -> dict[str, Any] | None:
    """Return a configuration as the sampler has it; None if it lies outside the space."""
    found: dict[str, Any] = {}
    for name, domain in space.items():
        value = numbers[name]
        if not isinstance(domain, SearchRange):
            places = [i for i, each in enumerate(domain) if to_plain(each) == value]
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
