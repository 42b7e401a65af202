"""Mixed linear model of trial scores, and marginal means of the factor levels."""

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
from study.analysis.paired import CONFIDENCE, average_over_seeds, compute_corrected_t, count_folds
from study.planning.trials import Repeat


@dataclass(frozen=True)
class MarginalMean:
    """Mean of one factor level over the levels of all other factors.

    Attributes
    ----------
    factor, level : str
    mean, low, high : float
        Macro AUROC, with the 95 % interval (corrected t) of its deviation from the mean of all
        arms on the same folds, shifted by that mean.
    """

    factor: str
    level: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Interaction:
    """Two-way table: mean over all other factors for every pair of levels of two factors.

    Attributes
    ----------
    row_factor, column_factor : str
    rows, columns : tuple of str
        Levels.
    means : tuple of tuple of float
        One tuple per row; NaN where there is no arm.
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
        A full grid.
    keys : sequence of Repeat, (b,)
    """
    center, grand = values.reshape(len(values), -1).mean(axis=1), float(values.mean())
    for axis, (factor, levels) in enumerate(zip(grid.factors, grid.levels, strict=True)):
        for i, level in enumerate(levels):
            part = values.take(i, axis=axis + 1).reshape(len(values), -1).mean(axis=1)
            deviation = compute_corrected_t(
                average_over_seeds(part - center, keys), count_folds(keys)
            )
            mean = float(part.mean())
            yield MarginalMean(factor, level, mean, grand + deviation.low, grand + deviation.high)


def estimate_interactions(
    grid: FactorGrid, scores: Mapping[Levels, float]
) -> Iterator[Interaction]:
    """Yield the two-way table of every pair of factors, over the existing arms.

    Parameters
    ----------
    grid : FactorGrid
    scores : mapping of levels to float
        Macro AUROC of each arm of the grid.
    """
    for row, column in itertools.combinations(range(len(grid.factors)), 2):
        means = tuple(
            tuple(_average_scores(scores, {row: a, column: b}) for b in grid.levels[column])
            for a in grid.levels[row]
        )
        yield Interaction(
            grid.factors[row], grid.factors[column], grid.levels[row], grid.levels[column], means
        )


def _average_scores(scores: Mapping[Levels, float], wanted: Mapping[int, str]) -> float:
    """Return the mean over the arms with the wanted levels; NaN without any."""
    chosen = [v for key, v in scores.items() if all(key[i] == x for i, x in wanted.items())]
    return float(np.mean(chosen)) if chosen else math.nan


@dataclass(frozen=True, eq=False)
class TrialScores:
    """Scores of the trials of a grid that may have gaps.

    Attributes
    ----------
    grid : FactorGrid
    levels : tuple of levels, (r,)
        Levels of each trial.
    keys : tuple of Repeat, (r,)
    scores : ndarray of float64, (r,)
        Macro AUROC.
    """

    grid: FactorGrid
    levels: tuple[Levels, ...]
    keys: tuple[Repeat, ...]
    scores: Floats

    def with_level(self, axis: int, level: str) -> TrialScores:
        """Return the trials with one level of a factor, over the grid of the other factors."""
        chosen = [i for i, key in enumerate(self.levels) if key[axis] == level]
        arms = {k: arm for k, arm in self.grid.arms.items() if k[axis] == level}
        keys = tuple(self.keys[i] for i in chosen)
        return TrialScores(
            self.grid.restrict_to(arms),
            tuple(self.levels[i] for i in chosen),
            keys,
            self.scores[chosen],
        )

    def design(self) -> list[Floats]:
        """Return the effect-coded design columns of every factor, (r, levels - 1) each.

        A column is 1 for trials with its level, -1 for trials with the last level, otherwise 0.
        A level's effect is then its distance to the mean of the levels.
        """
        blocks = []
        for axis, levels in enumerate(self.grid.levels):
            indicators = np.array([[key[axis] == x for x in levels] for key in self.levels], float)
            blocks.append(indicators[:, :-1] - indicators[:, -1:])
        return blocks


@dataclass(frozen=True, eq=False)
class MainEffects:
    """Fitted mixed model of the main effects.

    Attributes
    ----------
    trials : TrialScores
    mean : float
        Macro AUROC with equal weights for all levels.
    effects : tuple of ndarray, one a factor, (levels - 1,)
    covariance : ndarray of float64, (p, p)
        Covariance of `mean` and all effects.
    residual : float
        Residual variance.
    """

    trials: TrialScores
    mean: float
    effects: tuple[Floats, ...]
    covariance: Floats
    residual: float

    def shares(self, fraction: float | None) -> Iterator[VarianceShare]:
        """Yield the share of the variance that each factor explains, and the residual share."""
        grid, design = self.trials.grid, self.trials.design()
        parts = [float((x @ b).var()) for x, b in zip(design, self.effects, strict=True)]
        factor_parts = [
            (f, v) for f, v, b in zip(grid.factors, parts, self.effects, strict=True) if b.size
        ]
        total = sum(parts) + self.residual
        for name, part in (*factor_parts, (RESIDUAL, self.residual)):
            yield VarianceShare(name, fraction, part / total, math.nan, math.sqrt(part))

    def marginals(self) -> Iterator[MarginalMean]:
        """Yield the marginal mean of every level, with equal weights for all other levels.

        The model treats trials as independent given the split. The overlap of the training folds
        is added as in the corrected t: for m repeats and folds the variances are multiplied by
        1 + m / (k - 1).
        """
        keys = self.trials.keys
        test_folds = len({(repeat, fold) for _, repeat, fold in keys})
        inflation = 1 + test_folds / (count_folds(keys) - 1) if count_folds(keys) > 1 else math.nan
        half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, test_folds - 1)) * math.sqrt(inflation)
        start = 1
        for factor, levels, effects in self._factors():
            end = start + len(effects)
            code = np.vstack([np.eye(len(effects)), -np.ones(len(effects))])
            ses = np.sqrt(np.diag(code @ self.covariance[start:end, start:end] @ code.T))
            for level, deviation, se in zip(levels, code @ effects, ses, strict=True):
                mean, margin = self.mean + float(deviation), half_width * float(se)
                yield MarginalMean(factor, level, mean, mean - margin, mean + margin)
            start = end

    def _factors(self) -> Iterator[tuple[str, Sequence[str], Floats]]:
        grid = self.trials.grid
        return zip(grid.factors, grid.levels, self.effects, strict=True)


def fit_main_effects(trials: TrialScores) -> MainEffects | None:
    """Fit ``auroc ~ factors + (1 | split)`` by restricted maximum likelihood.

    Returns
    -------
    MainEffects or None
        None if two factors are confounded, there are too few trials, or all scores are equal.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM  # takes a second to import

    blocks, spread = trials.design(), float(trials.scores.std())
    design = np.hstack([np.ones((len(trials.scores), 1)), *blocks])
    columns = design.shape[1]
    if spread == 0 or len(design) <= columns or np.linalg.matrix_rank(design) < columns:
        return None
    center = float(trials.scores.mean())
    splits = ["/".join(map(str, key)) for key in trials.keys]
    with warnings.catch_warnings():
        # statsmodels warns if the split variance is 0, the boundary; that fit is valid too.
        warnings.simplefilter("ignore")
        fit = MixedLM((trials.scores - center) / spread, design, splits).fit(reml=True)
    effects = np.asarray(fit.fe_params) * spread
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    return MainEffects(
        trials,
        center + float(effects[0]),
        tuple(effects[i:j] for i, j in itertools.pairwise(ends)),
        np.asarray(fit.cov_params())[:columns, :columns] * spread**2,
        float(fit.scale) * spread**2,
    )
