"""Sample the configurations of a search with Optuna, each of them once."""

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
"""Suggestions without a new configuration after which a sampler counts as exhausted."""
Hyperparameters = Mapping[str, Any]
"""Values of the searched hyperparameters, as a study file writes them."""


@dataclass(frozen=True)
class Suggestion:
    """A configuration that was not suggested before.

    Attributes
    ----------
    hyperparameters : Hyperparameters
        Values of those that have an effect on the arm.
    trial : optuna.trial.Trial or None
        None for the arm's own configuration if it lies outside the space.
    """

    hyperparameters: Hyperparameters
    trial: Trial | None


class ConfigurationSampler:
    """Samples the configurations of a search: the arm's own, then suggestions of Optuna.

    For every arm the whole space is sampled with the same seed, and hyperparameters without effect
    on the arm are left out. In one fold all arms so get the same random configurations, and no
    difference between two arms is due to luck in sampling.

    A suggestion that was tried already gets its known value and uses no budget. If TPE suggests
    only tried configurations, random sampling takes over.

    Parameters
    ----------
    search : SearchConfig
    default : TrainingConfig
        The arm's own training config, which gives the first configuration.
    effective : collection of str
        Hyperparameters that have an effect on the arm.
    seed : int
        Seed of the trial.
    """

    def __init__(
        self, search: SearchConfig, default: TrainingConfig, effective: Collection[str], seed: int
    ) -> None:
        self._space, self._effective = search.space, effective
        self._distributions = {name: to_distribution(name, d) for name, d in search.space.items()}
        self._samplers: list[BaseSampler] = [RandomSampler(sampler_seed(search.seed, seed, 1))]
        if search.method == "tpe":
            self._samplers.insert(0, TPESampler(seed=sampler_seed(search.seed, seed)))
        with _quiet_optuna():
            self._study = optuna.create_study(sampler=self._samplers[0], direction="maximize")
        default_values = {name: to_plain(getattr(default, name)) for name in search.space}
        self.first = self._select_effective(default_values)
        self._first_params = encode(default_values, search.space)
        if self._first_params is not None:
            self._study.enqueue_trial(self._first_params)
        self._values: dict[str, float | None] = {}

    def ask(self) -> Suggestion | None:
        """Return a configuration that was not suggested before; None if there is none left."""
        if not self._values:
            self._values[configuration_key(self.first)] = None
            return Suggestion(
                self.first, None if self._first_params is None else self._ask_optuna()
            )
        for sampler in self._samplers:
            self._study.sampler = sampler
            for _ in range(ATTEMPTS):
                trial = self._ask_optuna()
                hyperparameters = self._select_effective(decode(trial.params, self._space))
                key = configuration_key(hyperparameters)
                if key not in self._values:
                    self._values[key] = None
                    return Suggestion(hyperparameters, trial)
                self.tell(Suggestion(hyperparameters, trial), self._values[key])
        return None

    def tell(self, suggestion: Suggestion, value: float | None) -> None:
        """Report the validation value of a suggestion; None if its training failed."""
        self._values[configuration_key(suggestion.hyperparameters)] = value
        if suggestion.trial is not None:
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            self._study.tell(suggestion.trial, value, state=state)

    def ask_many(self, count: int) -> list[Hyperparameters]:
        """Return `count` configurations, the arm's own first; fewer if the space is exhausted."""
        configurations: list[Hyperparameters] = []
        while len(configurations) < count and (suggestion := self.ask()) is not None:
            configurations.append(suggestion.hyperparameters)
        return configurations

    def _ask_optuna(self) -> Trial:
        return self._study.ask(fixed_distributions=self._distributions)

    def _select_effective(self, hyperparameters: Hyperparameters) -> Hyperparameters:
        return {k: value for k, value in hyperparameters.items() if k in self._effective}


def sampler_seed(*seeds: int) -> int:
    """Derive the seed of a sampler from the seeds of the search and the trial."""
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])


def to_distribution(name: str, domain: Domain) -> BaseDistribution:
    """Return Optuna's distribution of a hyperparameter; for a list, over its indices."""
    if not isinstance(domain, SearchRange):
        return CategoricalDistribution(tuple(range(len(domain))))
    log = domain.scale == "log"
    if is_whole(name):
        return IntDistribution(int(domain.low), int(domain.high), log=log)
    return FloatDistribution(domain.low, domain.high, log=log)


def decode(params: Mapping[str, Any], space: Mapping[str, Domain]) -> Hyperparameters:
    """Convert Optuna's parameters to the values that a study file would hold."""
    return {
        name: to_file_value(name, params[name])
        if isinstance(domain, SearchRange)
        else to_plain(domain[params[name]])
        for name, domain in space.items()
    }


def encode(hyperparameters: Hyperparameters, space: Mapping[str, Domain]) -> dict[str, Any] | None:
    """Convert a configuration to Optuna's parameters; None if it lies outside the space."""
    params: dict[str, Any] = {}
    for name, domain in space.items():
        value = hyperparameters[name]
        if not isinstance(domain, SearchRange):
            encoded = [i for i, choice in enumerate(domain) if to_plain(choice) == value]
        else:
            # The width of one hidden layer is searched as a number and written as a list.
            number = value[0] if isinstance(value, list) and len(value) == 1 else value
            inside = isinstance(number, int | float) and domain.low <= number <= domain.high
            encoded = [number] if inside else []
        if not encoded:
            return None
        params[name] = encoded[0]
    return params


def apply_values(hyperparameters: Hyperparameters, default: TrainingConfig) -> TrainingConfig:
    """Return a training config with these values in place of its own."""
    return TrainingConfig.model_validate({**default.model_dump(), **hyperparameters})


def configuration_key(hyperparameters: Hyperparameters) -> str:
    """Return a text that identifies a configuration."""
    return json.dumps(hyperparameters, sort_keys=True)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's message about a new study; restores the caller's verbosity."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
