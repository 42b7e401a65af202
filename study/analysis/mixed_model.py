"""Mixed linear model of fold scores with crossed random effects, and its marginal means."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from study.analysis.anova import RESIDUAL, VarianceShare
from study.analysis.factor_grid import FactorGrid, Levels
from study.analysis.influence import Floats
from study.analysis.paired import CONFIDENCE, corrected_t, count_folds, fold_means
from study.planning.trials import Repeat


@dataclass(frozen=True)
class MarginalMean:
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


def estimate_marginal_means(
    values: Floats, grid: FactorGrid, keys: Sequence[Repeat]
) -> Iterator[MarginalMean]:
    """Yield the marginal mean of every level of a full grid.

    Parameters
    ----------
    values : ndarray of float64, (b, levels of the first factor, ...)
    grid : FactorGrid
        Full.
    keys : sequence of Repeat, (b,)
    """
    center, grand = values.reshape(len(values), -1).mean(axis=1), float(values.mean())
    for axis, (factor, levels) in enumerate(zip(grid.factors, grid.levels, strict=True)):
        for i, level in enumerate(levels):
            part = values.take(i, axis=axis + 1).reshape(len(values), -1).mean(axis=1)
            away = corrected_t(fold_means(part - center, keys), count_folds(keys))
            mean = float(part.mean())
            yield MarginalMean(factor, level, mean, grand + away.low, grand + away.high)


def estimate_interactions(
    grid: FactorGrid, scores: Mapping[Levels, float]
) -> Iterator[Interaction]:
    """Yield the table of every pair of factors, over the arms that there are.

    Parameters
    ----------
    grid : FactorGrid
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


@dataclass(frozen=True, eq=False)
class TrialScores:
    """Scores of the trials of a grid, with gaps.

    Attributes
    ----------
    grid : FactorGrid
    levels : tuple of levels, (r,)
        Of each trial.
    keys : tuple of Repeat, (r,)
    scores : ndarray of float64, (r,)
        Macro AUROC.
    """

    grid: FactorGrid
    levels: tuple[Levels, ...]
    keys: tuple[Repeat, ...]
    scores: Floats

    def of(self, axis: int, level: str) -> TrialScores:
        """Return the trials with one level of a factor, over the grid of the other factors."""
        kept = [i for i, key in enumerate(self.levels) if key[axis] == level]
        arms = {k: arm for k, arm in self.grid.arms.items() if k[axis] == level}
        keys = tuple(self.keys[i] for i in kept)
        return TrialScores(
            self.grid.over(arms), tuple(self.levels[i] for i in kept), keys, self.scores[kept]
        )

    def design(self) -> list[Floats]:
        """Columns of every factor, coded so that a level's effect is its distance to their mean.

        One column fewer than levels: 1 for its own level, -1 for the last, 0 else.
        """
        blocks = []
        for axis, levels in enumerate(self.grid.levels):
            ones = np.array([[key[axis] == x for x in levels] for key in self.levels], float)
            blocks.append(ones[:, :-1] - ones[:, -1:])
        return blocks


@dataclass(frozen=True, eq=False)
class MainEffects:
    """A fitted model.

    Attributes
    ----------
    trials : TrialScores
    mean : float
        Macro AUROC with equal weights of all levels.
    effects : tuple of ndarray, one a factor, (levels - 1,)
    covariance : ndarray of float64, (p, p)
        Of `mean` and all effects.
    residual : float
        Variance.
    """

    trials: TrialScores
    mean: float
    effects: tuple[Floats, ...]
    covariance: Floats
    residual: float

    def shares(self, fraction: float | None) -> Iterator[VarianceShare]:
        """Yield the variance of each factor's fitted part, and the residual, over their sum."""
        grid, design = self.trials.grid, self.trials.design()
        parts = [float((x @ b).var()) for x, b in zip(design, self.effects, strict=True)]
        named = [
            (f, v) for f, v, b in zip(grid.factors, parts, self.effects, strict=True) if b.size
        ]
        total = sum(parts) + self.residual
        for name, part in (*named, (RESIDUAL, self.residual)):
            yield VarianceShare(name, fraction, part / total, math.nan, math.sqrt(part))

    def marginals(self) -> Iterator[MarginalMean]:
        """Yield the mean of every level, equal weights for those of the other factors.

        The model takes trials as independent given the split. The overlap of the training folds
        is added as in the corrected t: variances times 1 + m / (k - 1) for m repeats and folds.
        """
        keys = self.trials.keys
        places = len({(repeat, fold) for _, repeat, fold in keys})
        wider = 1 + places / (count_folds(keys) - 1) if count_folds(keys) > 1 else math.nan
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, places - 1)) * math.sqrt(wider)
        begin = 1
        for factor, levels, effects in self._factors():
            end = begin + len(effects)
            code = np.vstack([np.eye(len(effects)), -np.ones(len(effects))])
            ses = np.sqrt(np.diag(code @ self.covariance[begin:end, begin:end] @ code.T))
            for level, away, se in zip(levels, code @ effects, ses, strict=True):
                mean, half = self.mean + float(away), reach * float(se)
                yield MarginalMean(factor, level, mean, mean - half, mean + half)
            begin = end

    def _factors(self) -> Iterator[tuple[str, Sequence[str], Floats]]:
        grid = self.trials.grid
        return zip(grid.factors, grid.levels, self.effects, strict=True)


def fit_main_effects(trials: TrialScores) -> MainEffects | None:
    """Fit ``auroc ~ factors + (1 | split)`` by restricted maximum likelihood.

    Returns
    -------
    MainEffects or None
        None where two factors cannot be told apart, too few trials are left, or all score the
        same.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM  # a second to import

    blocks, spread = trials.design(), float(trials.scores.std())
    design = np.hstack([np.ones((len(trials.scores), 1)), *blocks])
    columns = design.shape[1]
    if spread == 0 or len(design) <= columns or np.linalg.matrix_rank(design) < columns:
        return None
    center = float(trials.scores.mean())
    splits = ["/".join(map(str, key)) for key in trials.keys]
    with warnings.catch_warnings():
        # A split without an effect of its own lies on the boundary: that is an answer, too.
        warnings.simplefilter("ignore")
        found = MixedLM((trials.scores - center) / spread, design, splits).fit(reml=True)
    effects = np.asarray(found.fe_params) * spread
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    return MainEffects(
        trials,
        center + float(effects[0]),
        tuple(effects[i:j] for i, j in itertools.pairwise(ends)),
        np.asarray(found.cov_params())[:columns, :columns] * spread**2,
        float(found.scale) * spread**2,
    )
