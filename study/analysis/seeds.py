"""What the seeds of training add to the error of a paired difference.

Shapes: r trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.analysis.influence import Floats
from study.cells import Repeat


class SeedTerm(NamedTuple):
    """Standard error of a mean over trials from their seeds.

    Attributes
    ----------
    se : float
        NaN where unknown.
    variance : float
        The estimate, on `df` degrees of freedom, that it was taken from.
    df : int
    source : {'seeds', 'folds', ''}
    """

    se: float
    variance: float
    df: int
    source: str


def seed_term(values: Floats, keys: Sequence[Repeat], molecules: float) -> SeedTerm:
    """Return what the seeds add to the error of a paired difference.

    With several seeds of a fold, `seed_error`. With one, what the folds scatter beyond their
    molecules: with s^2 the variance over the k folds of a repeat, pooled over R repeats, the
    test molecules account for ``k molecules^2`` of it, and ``(s^2 / k - molecules^2) / R`` is
    left for the seeds of R k trials; 0 where nothing is left. Without it two seeds of one model
    would differ significantly in up to 8 of 10 pairs (where seeds move models more than molecules
    do); with it in at most 1 of 20, because folds of a pure seed difference are independent.

    Parameters
    ----------
    values : ndarray of float64, (r,)
        Differences of the trials.
    keys : sequence of Repeat, (r,)
    molecules : float
        Standard error of their mean from the test molecules.
    """
    spreads, count = _seed_spreads(values, keys), len(values)
    if spreads:
        variance = float(np.mean(spreads)) / count
        return SeedTerm(math.sqrt(variance), variance, count - _places(keys), "seeds")
    repeats: dict[int, list[float]] = {}
    for (_, repeat, _), value in zip(keys, values, strict=True):
        repeats.setdefault(repeat, []).append(float(value))
    scattered = [group for group in repeats.values() if len(group) > 1]
    if not scattered:
        return SeedTerm(math.nan, math.nan, 0, "")
    freedoms = np.array([len(group) - 1 for group in scattered])
    spread = float(np.average([np.var(g, ddof=1) for g in scattered], weights=freedoms))
    excess = max(0.0, spread / count - molecules**2 / len(repeats))
    return SeedTerm(math.sqrt(excess), spread / count, int(freedoms.sum()), "folds")


def seed_error(values: Floats, keys: Sequence[Repeat]) -> float:
    """Return the standard error of a mean over trials from their seeds; NaN with one seed.

    The variance between seeds inside a fold, pooled over repeats and folds, over the number of
    trials: each of them was trained from a seed of its own.

    Parameters
    ----------
    values : ndarray of float64, (r,)
    keys : sequence of Repeat, (r,)
    """
    spreads = _seed_spreads(values, keys)
    return math.sqrt(float(np.mean(spreads)) / len(values)) if spreads else math.nan


def fold_means(values: Floats, keys: Sequence[Repeat]) -> list[float]:
    """Mean over the seeds of each repeat and fold."""
    by_fold = _by_fold(values, keys)
    return [float(np.mean(by_fold[place])) for place in sorted(by_fold)]


def folds_of(keys: Sequence[Repeat]) -> int:
    """Return the number of folds of the cross-validation that trials are of."""
    return 1 + max(fold for _, _, fold in keys)


def _by_fold(values: Floats, keys: Sequence[Repeat]) -> dict[tuple[int, int], list[float]]:
    """Values of all seeds by repeat and fold."""
    by_fold: dict[tuple[int, int], list[float]] = {}
    for (_, repeat, fold), value in zip(keys, values, strict=True):
        by_fold.setdefault((repeat, fold), []).append(float(value))
    return by_fold


def _places(keys: Sequence[Repeat]) -> int:
    return len({(repeat, fold) for _, repeat, fold in keys})


def _seed_spreads(values: Floats, keys: Sequence[Repeat]) -> list[float]:
    """Variance between the seeds of each fold that has several."""
    groups = _by_fold(values, keys).values()
    return [float(np.var(group, ddof=1)) for group in groups if len(group) > 1]
