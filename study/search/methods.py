"""The three ways of spending a budget: draws, a halving of them, and Optuna's TPE."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from study.numbers import Training
from study.search.draws import Draws, Numbers, applied
from study.search.halving import rungs_of
from study.search.log import Tried
from study.search.space import Search
from study.search.trainer import Candidate, Reached, Trainer


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
        from study.search.tpe import suggested  # Optuna

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
