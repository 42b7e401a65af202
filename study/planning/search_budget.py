"""The rungs of successive halving, and the cost of a search in full trainings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from study.config.search import REDUCTION, SearchConfig


@dataclass(frozen=True)
class HalvingRung:
    """A rung of successive halving: `candidates` configurations are trained to `epochs`."""

    candidates: int
    epochs: int


def build_rungs(budget: int, epochs: int) -> tuple[HalvingRung, ...]:
    """Return the rungs of successive halving.

    The last rung has all epochs; every rung before it has a third of the epochs of the next and
    three times its configurations. Rungs with the same number of epochs are merged.

    Parameters
    ----------
    budget : int
        Configurations on the first rung.
    epochs : int
        Epochs of a full training.

    References
    ----------
    Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification (AISTATS). Li et al. 2020,
    A System for Massively Parallel Hyperparameter Tuning (MLSys), is the asynchronous form for
    many machines, ASHA. Here all configurations are trained together in one process and none
    waits for another machine, so both forms are the same.
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
    """Return the cost of a trial in trainings without search: the search and the final fit.

    Parameters
    ----------
    search : SearchConfig or None
        None: one training.
    epochs : int
        Maximum epochs of a training.
    stopped_at : float
        Share of the epochs after which early stopping typically ends a training.
    """
    if search is None:
        return 1.0
    if search.method != "asha":
        return search.budget + 1.0
    typical_epochs, previous, spent = stopped_at * epochs, 0.0, 0.0
    for index, rung in enumerate(build_rungs(search.budget, epochs)):
        reached = min(float(rung.epochs), typical_epochs)
        count = rung.candidates + (index > 0)  # the arm's own settings are never dropped
        spent, previous = spent + count * (reached - previous), reached
    return spent / typical_epochs + 1.0


def format_search(search: SearchConfig | None, epochs: int) -> list[str]:
    """Return the line of `study plan` about a search; no line without one."""
    if search is None:
        return []
    settings, rung_text = ", ".join(search.space), ""
    if search.method == "asha":
        rungs = build_rungs(search.budget, epochs)
        rung_text = f" (rungs: {', '.join(f'{r.candidates} to epoch {r.epochs}' for r in rungs)})"
    return [
        f"search    {search.method}: {search.budget} configurations of {settings} in each trial of "
        f"every arm, then one fit of the best: {count_trainings(search, epochs):.1f} trainings a "
        "trial"
        f"{rung_text}"
    ]
