"""Optuna's tree-structured Parzen estimator, asked and told in turn.

Ray Tune's `OptunaSearch` is a wrapper of the same sampler: ``TPESampler(seed=...)`` behind
``study.ask`` and ``study.tell``. It is not used, because a study also runs without Ray, and
because a search is one piece of work inside one process: a trial a configuration would cost an
actor each, and its values would travel through a scheduler that sees other folds as well. For
one seed and the same values both suggest the same configurations (a test pins it).

References
----------
Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (NIPS).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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

from study.search.draws import ATTEMPTS, Draws, Numbers, key_of, plain
from study.search.log import Tried
from study.search.methods import Task, tried
from study.search.space import Domain, Range, is_whole, written
from study.search.trainer import Trainer


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
