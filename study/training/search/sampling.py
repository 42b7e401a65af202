"""Configurations of a search: suggested by Optuna's samplers, each of them once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from study.config.search import Domain, SearchConfig, SearchRange, is_whole, to_file_value, to_plain
from study.config.training import TrainingConfig

ATTEMPTS = 100
"""Suggestions of a sampler without a new configuration, before the space counts as used up."""
Numbers = Mapping[str, Any]
"""Values of the searched numbers, as a study file writes them."""


@dataclass(frozen=True)
class Suggestion:
    """A configuration that was not suggested before.

    Attributes
    ----------
    numbers : Numbers
        Those that the arm feels.
    trial : optuna.trial.Trial or None
        None for numbers of the arm that lie outside the space.
    """

    numbers: Numbers
    trial: Trial | None


class ConfigurationSampler:
    """The arm's own numbers, then suggestions of an Optuna sampler.

    Every arm is asked for the whole space with the same seed, and the numbers that it does not
    feel are left out: in one fold all arms meet the same random draws, so that no difference
    between two arms is the luck of their draws.

    A suggestion that was tried already is answered with its known value and costs nothing. Where
    TPE suggests only such ones, random draws take their place.

    Parameters
    ----------
    search : SearchConfig
    own : TrainingConfig
        The arm's own numbers: the first configuration.
    felt : collection of str
        Numbers that make a difference to the arm.
    seed : int
        Of the trial.
    """

    def __init__(
        self, search: SearchConfig, own: TrainingConfig, felt: Collection[str], seed: int
    ) -> None:
        self._space, self._felt = search.space, felt
        self._distributions = {name: to_distribution(name, d) for name, d in search.space.items()}
        self._samplers: list[BaseSampler] = [RandomSampler(sampler_seed(search.seed, seed, 1))]
        if search.method == "tpe":
            self._samplers.insert(0, TPESampler(seed=sampler_seed(search.seed, seed)))
        with _quiet():
            self._study = optuna.create_study(sampler=self._samplers[0], direction="maximize")
        whole = {name: to_plain(getattr(own, name)) for name in search.space}
        self.first = self._felt_of(whole)
        self._own = encode(whole, search.space)
        if self._own is not None:
            self._study.enqueue_trial(self._own)
        self._values: dict[str, float | None] = {}

    def ask(self) -> Suggestion | None:
        """Return a configuration that was not met before; None if none was found."""
        if not self._values:
            self._values[configuration_key(self.first)] = None
            return Suggestion(self.first, None if self._own is None else self._ask())
        for sampler in self._samplers:
            self._study.sampler = sampler
            for _ in range(ATTEMPTS):
                trial = self._ask()
                numbers = self._felt_of(decode(trial.params, self._space))
                key = configuration_key(numbers)
                if key not in self._values:
                    self._values[key] = None
                    return Suggestion(numbers, trial)
                self.tell(Suggestion(numbers, trial), self._values[key])
        return None

    def tell(self, suggestion: Suggestion, value: float | None) -> None:
        """Answer a suggestion with its validation value; None if its training broke down."""
        self._values[configuration_key(suggestion.numbers)] = value
        if suggestion.trial is not None:
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self._study.tell(suggestion.trial, value, state=state)

    def several(self, count: int) -> list[Numbers]:
        """Return so many configurations, the arm's own first; fewer if the space is used up."""
        found: list[Numbers] = []
        while len(found) < count and (suggestion := self.ask()) is not None:
            found.append(suggestion.numbers)
        return found

    def _ask(self) -> Trial:
        return self._study.ask(fixed_distributions=self._distributions)

    def _felt_of(self, numbers: Numbers) -> Numbers:
        return {name: value for name, value in numbers.items() if name in self._felt}


def sampler_seed(*seeds: int) -> int:
    """Return the seed of a sampler: of the seeds of the search and the trial."""
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])


def to_distribution(name: str, domain: Domain) -> BaseDistribution:
    """Return Optuna's distribution of the values of a number; of a list, that of the places."""
    if not isinstance(domain, SearchRange):
        return CategoricalDistribution(tuple(range(len(domain))))
    log = domain.scale == "log"
    if is_whole(name):
        return IntDistribution(int(domain.low), int(domain.high), log=log)
    return FloatDistribution(domain.low, domain.high, log=log)


def decode(params: Mapping[str, Any], space: Mapping[str, Domain]) -> Numbers:
    """Return Optuna's parameters as a study file writes them."""
    return {
        name: to_file_value(name, params[name])
        if isinstance(domain, SearchRange)
        else to_plain(domain[params[name]])
        for name, domain in space.items()
    }


def encode(numbers: Numbers, space: Mapping[str, Domain]) -> dict[str, Any] | None:
    """Return a configuration as Optuna's parameters; None if it lies outside the space."""
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


def apply_values(numbers: Numbers, own: TrainingConfig) -> TrainingConfig:
    """Return the arm's own numbers with these in their place."""
    return TrainingConfig.model_validate({**own.model_dump(), **numbers})


def configuration_key(numbers: Numbers) -> str:
    """Return what tells a configuration apart."""
    return json.dumps(numbers, sort_keys=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a study in memory; the caller's setting comes back."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
