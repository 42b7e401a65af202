"""Rungs of a successive halving, and what a search costs in whole trainings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from study.config.search import REDUCTION, SearchConfig


@dataclass(frozen=True)
class HalvingRung:
    """A stage of a successive halving: so many configurations are trained to so many epochs."""

    candidates: int
    epochs: int


def build_rungs(budget: int, epochs: int) -> tuple[HalvingRung, ...]:
    """Return the rungs of a successive halving.

    The last one has all epochs, each before it a third of the epochs of the next and three times
    its configurations; rungs with the same number of epochs are one.

    Parameters
    ----------
    budget : int
        Configurations on the first rung.
    epochs : int
        Epochs of a whole training.

    References
    ----------
    Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification (AISTATS). Li et al. 2020,
    A System for Massively Parallel Hyperparameter Tuning (MLSys), is the asynchronous form for
    many machines, ASHA; among configurations that are trained side by side nobody waits for
    another machine, and the two are one.
    """
    steps, left = 0, budget
    while left >= REDUCTION:
        steps, left = steps + 1, left // REDUCTION
    rungs: dict[int, HalvingRung] = {}
    for step in range(steps + 1):
        reached = math.ceil(epochs / REDUCTION ** (steps - step))
        rungs.setdefault(reached, HalvingRung(budget // REDUCTION**step, reached))
    return tuple(rungs.values())


def count_trainings(search: SearchConfig | None, epochs: int, stopped_at: float = 1.0) -> float:
    """Return what a trial costs, in trainings with fixed numbers: the search and the last fit.

    Parameters
    ----------
    search : SearchConfig or None
        None: one training.
    epochs : int
        Most epochs of a training.
    stopped_at : float
        Share of them after which patience typically runs out.
    """
    if search is None:
        return 1.0
    if search.method != "asha":
        return search.budget + 1.0
    usual, before, spent = stopped_at * epochs, 0.0, 0.0
    for place, rung in enumerate(build_rungs(search.budget, epochs)):
        reached = min(float(rung.epochs), usual)
        count = rung.candidates + (place > 0)  # the arm's own numbers are never dropped
        spent, before = spent + count * (reached - before), reached
    return spent / usual + 1.0


def format_search(search: SearchConfig | None, epochs: int) -> list[str]:
    """Return what `study plan` says of a search; nothing without one."""
    if search is None:
        return []
    numbers, ladder = ", ".join(search.space), ""
    if search.method == "asha":
        rungs = build_rungs(search.budget, epochs)
        ladder = f" (rungs: {', '.join(f'{r.candidates} to epoch {r.epochs}' for r in rungs)})"
    return [
        f"search    {search.method}: {search.budget} configurations of {numbers} in each trial of "
        f"every arm, then one fit of the best: {count_trainings(search, epochs):.1f} trainings a "
        "trial"
        f"{ladder}"
    ]
