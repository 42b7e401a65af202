"""Means over the other factors of a grid: of one level, and of pairs of levels.

Shapes: b trials that all arms share, then one axis for each factor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.grid import Grid, Levels
from study.analysis.inference import corrected_t, fold_means, folds_of
from study.analysis.influence import Floats
from study.cells import Repeat


@dataclass(frozen=True)
class Marginal:
    """Mean of a level of a factor over all others.

    Attributes
    ----------
    factor, level : str
    mean, low, high : float
        Macro AUROC, and the 95 % interval of its deviation from the mean of all arms on the same
        folds (corrected t), about that mean.
    """

    factor: str
    level: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Interaction:
    """Means over all other factors, of every pair of levels of two factors.

    Attributes
    ----------
    row_factor, column_factor : str
    rows, columns : tuple of str
        Levels.
    means : tuple of tuple of float
        A tuple for each row; NaN where there is no arm.
    """

    row_factor: str
    column_factor: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]


def marginals(values: Floats, grid: Grid, keys: Sequence[Repeat]) -> Iterator[Marginal]:
    """Yield the marginal mean of every level of a full grid.

    Parameters
    ----------
    values : ndarray of float64, (b, levels of the first factor, ...)
    grid : Grid
        Full.
    keys : sequence of Repeat, (b,)
    """
    center, grand = values.reshape(len(values), -1).mean(axis=1), float(values.mean())
    for axis, (factor, levels) in enumerate(zip(grid.factors, grid.levels, strict=True)):
        for i, level in enumerate(levels):
            part = values.take(i, axis=axis + 1).reshape(len(values), -1).mean(axis=1)
            away = corrected_t(fold_means(part - center, keys), folds_of(keys))
            mean = float(part.mean())
            yield Marginal(factor, level, mean, grand + away.low, grand + away.high)


def interactions(grid: Grid, scores: Mapping[Levels, float]) -> Iterator[Interaction]:
    """Yield the table of every pair of factors, over the arms that there are.

    Parameters
    ----------
    grid : Grid
    scores : mapping of levels to float
        Macro AUROC of each arm of the grid.
    """
    for row, column in itertools.combinations(range(len(grid.factors)), 2):
        means = tuple(
            tuple(_mean(scores, {row: a, column: b}) for b in grid.levels[column])
            for a in grid.levels[row]
        )
        yield Interaction(
            grid.factors[row], grid.factors[column], grid.levels[row], grid.levels[column], means
        )


def _mean(scores: Mapping[Levels, float], wanted: Mapping[int, str]) -> float:
    """Mean over the arms that have the wanted levels; NaN without any."""
    found = [v for key, v in scores.items() if all(key[i] == x for i, x in wanted.items())]
    return float(np.mean(found)) if found else math.nan
