"""Search methods: random, successive halving, TPE."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from study.config.search import SearchConfig
from study.config.training import TrainingConfig
from study.planning.search_budget import build_rungs
from study.results.search_log import SearchCandidate
from study.training.search.sampling import ConfigurationSampler, Hyperparameters, apply_values


@dataclass(frozen=True)
class Configuration:
    """A candidate of a search.

    Attributes
    ----------
    index : int
        Position in the order of sampling, from 0.
    training : TrainingConfig
        Its complete training config.
    """

    index: int
    training: TrainingConfig


@dataclass(frozen=True)
class ValidationScore:
    """Validation values of a candidate so far.

    Attributes
    ----------
    monitored : tuple of float
        Validation value after each epoch.
    finished : bool
        Whether patience has run out, or all epochs are done.
    cause : str
        Reason of a failed training; empty if it did not fail.
    """

    monitored: tuple[float, ...]
    finished: bool
    cause: str = ""

    def to_log_entry(self, hyperparameters: Hyperparameters) -> SearchCandidate:
        """Return the entry of the search log for a configuration with this score."""
        return SearchCandidate(hyperparameters, self.monitored, self.finished, self.cause)


class ConfigurationTrainer(Protocol):
    """Trains candidates on the training part of a fold and validates them on its inner part.

    Training of a candidate continues from its previous call. A candidate that is absent from a
    call is dropped, together with its state.
    """

    def __call__(
        self, candidates: Sequence[Configuration], epochs: int
    ) -> Sequence[ValidationScore]:
        """Train each candidate up to an epoch, or until patience has run out."""


@dataclass(frozen=True)
class SearchTask:
    """The search of one trial.

    Attributes
    ----------
    search : SearchConfig
    default : TrainingConfig
        The arm's own training config.
    effective : frozenset of str
        Searched hyperparameters that have an effect on the arm.
    seed : int
        Seed of the trial.
    """

    search: SearchConfig
    default: TrainingConfig
    effective: frozenset[str]
    seed: int

    def build_candidate(self, index: int, hyperparameters: Hyperparameters) -> Configuration:
        """Return the candidate with these values of the searched hyperparameters."""
        return Configuration(index, apply_values(hyperparameters, self.default))


def run_search(task: SearchTask, trainer: ConfigurationTrainer) -> tuple[SearchCandidate, ...]:
    """Train as many configurations as the budget allows, the arm's own first."""
    sampler = ConfigurationSampler(task.search, task.default, task.effective, task.seed)
    if task.search.method == "asha":
        return run_successive_halving(task, sampler.ask_many(task.search.budget), trainer)
    tried: list[SearchCandidate] = []
    while len(tried) < task.search.budget and (suggestion := sampler.ask()) is not None:
        candidate = task.build_candidate(len(tried), suggestion.hyperparameters)
        (score,) = trainer([candidate], task.default.epochs)
        tried.append(score.to_log_entry(suggestion.hyperparameters))
        sampler.tell(suggestion, tried[-1].value)
    return tuple(tried)


def run_successive_halving(
    task: SearchTask, configurations: Sequence[Hyperparameters], trainer: ConfigurationTrainer
) -> tuple[SearchCandidate, ...]:
    """Train configurations in rungs, after each of which the best third continues.

    The first configuration, the arm's own, is never dropped, so the chosen one is at least as good
    on the validation part. Optuna's `SuccessiveHalvingPruner` is not used: it decides about a trial
    when it reaches a rung, against those that reached it before. With candidates trained one after
    the other, more of them would continue than the rungs that `study plan` counts.
    """
    candidates = [task.build_candidate(i, values) for i, values in enumerate(configurations)]
    scores: dict[int, ValidationScore] = {}
    for rung in build_rungs(len(candidates), task.default.epochs):
        candidates = _select_best(candidates, scores, rung.candidates)
        trained = [c for c in candidates if c.index not in scores or _can_continue(scores[c.index])]
        new = trainer(trained, rung.epochs)
        scores |= {c.index: score for c, score in zip(trained, new, strict=True)}
    return tuple(scores[i].to_log_entry(values) for i, values in enumerate(configurations))


def _can_continue(score: ValidationScore) -> bool:
    return not score.finished and not score.cause


def _select_best(
    candidates: Sequence[Configuration], scores: Mapping[int, ValidationScore], count: int
) -> list[Configuration]:
    """Return the best candidates in the order of sampling, and always the first one."""
    if not scores:
        return list(candidates)
    successful = [c for c in candidates if not scores[c.index].cause]
    ranked = sorted(successful, key=lambda c: -max(scores[c.index].monitored))
    selected = {c.index for c in ranked[:count]} | {0}
    return [c for c in successful if c.index in selected]


def effective_hyperparameters(
    search: SearchConfig, without_effect: Collection[str]
) -> frozenset[str]:
    """Return the searched hyperparameters but those without effect on an arm."""
    return frozenset(search.space) - frozenset(without_effect)
