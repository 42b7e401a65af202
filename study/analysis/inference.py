"""Paired differences between two arms: interval, conservative bound, probabilities.

Two formulas side by side (measured in 16 disjoint halvings of a real table): the pooled
influence curve is right for a difference, the corrected t of Nadeau & Bengio 2003 (Mach. Learn.
52:239) a conservative bound. Neither is the paired t over folds, which is too narrow by a factor
of about two, because folds share training molecules.

Shapes: n molecules, l labels, r trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.arms import Arm, Repeat
from study.analysis.influence import Floats
from study.errors import StudyError

ROPE = 0.005
"""Region of practical equivalence: differences in AUROC that nobody should care about."""
POWER = 2.8
"""Standard errors of the smallest effect seen in 4 of 5 studies at the two-sided 5 % level."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Corrected:
    """Corrected t of a difference over the folds of a cross-validation.

    Attributes
    ----------
    mean, se : float
    df : int
        Degrees of freedom; 0 with one fold, where everything but the mean is NaN.
    low, high : float
        95 % interval.
    p : float
        Two-sided, of no difference.
    better, equivalent, worse : float
        Probabilities of lying above, in and below the region of practical equivalence, with a
        flat prior (Corani & Benavoli 2015, Mach. Learn. 100:285).
    """

    mean: float
    se: float
    df: int
    low: float
    high: float
    p: float
    better: float
    equivalent: float
    worse: float


@dataclass(frozen=True)
class Difference:
    """AUROC of an arm minus its reference's on the same folds and seeds.

    Attributes
    ----------
    estimate : float
    se_influence : float
        From the test molecules: what another draw of them would move.
    se_seed : float
        From initialisation and batch order; NaN where one seed tells nothing of it.
    se, low, high, p : float
        Both together (without the seed term where it is NaN); 95 % interval; two-sided normal p.
    corrected : Corrected
        The conservative bound beside it.
    smallest : float
        Minimum detectable effect: 2.8 standard errors, 80 % power at the two-sided 5 % level.
    folds : tuple of float
        Difference of each repeat and fold, mean over the seeds.
    """

    estimate: float
    se_influence: float
    se_seed: float
    se: float
    low: float
    high: float
    p: float
    corrected: Corrected
    smallest: float
    folds: tuple[float, ...]


def paired(arm: Arm, reference: Arm, groups: NDArray[np.int64], weights: Floats) -> Difference:
    """Compare two arms over the same trials.

    Parameters
    ----------
    arm, reference : Arm
        With the same keys.
    groups : ndarray of int64, (n,)
        Groups of the split: molecules of one group are drawn together.
    weights : ndarray of float64, (l,)
        Weight of each label in the statistic; `macro_weights` for the macro mean.

    Raises
    ------
    StudyError
        The arms do not have the same trials.
    """
    if arm.keys != reference.keys:
        raise StudyError(
            f"{arm.cell} and {reference.cell} have different trials; pair the ones they share"
        )
    values = arm.values(weights) - reference.values(weights)
    molecules = standard_error(arm.pulls(weights) - reference.pulls(weights), groups)
    seed = seed_error(values, arm.keys)
    return _difference(values, arm.keys, molecules, seed)


def level(arm: Arm, groups: NDArray[np.int64], weights: Floats) -> tuple[Corrected, float]:
    """Return the corrected t of an arm's own AUROC, and its influence-curve standard error."""
    folds = fold_means(arm.values(weights), arm.keys)
    molecules = standard_error(arm.pulls(weights), groups)
    return corrected_t(folds, folds_of(arm.keys)), molecules


def macro_weights(labels: int) -> Floats:
    """Return the weights of the unweighted mean over labels, (l,)."""
    return np.full(labels, 1 / labels)


def standard_error(pulls: NDArray[np.floating], groups: NDArray[np.int64]) -> float:
    """Root of the sum of squares of the pulls of whole groups; `pulls` is (n,)."""
    sums = np.bincount(groups, weights=pulls)
    return float(np.sqrt((sums**2).sum()))


def seed_error(values: Floats, keys: Sequence[Repeat]) -> float:
    """Return the standard error of a mean over trials from their seeds; NaN with one seed.

    The variance between seeds inside a fold, pooled over repeats and folds, over the number of
    trials: each of them was trained from a seed of its own.

    Parameters
    ----------
    values : ndarray of float64, (r,)
    keys : sequence of Repeat, (r,)
    """
    by_fold: dict[tuple[int, int], list[float]] = {}
    for (_, repeat, fold), value in zip(keys, values, strict=True):
        by_fold.setdefault((repeat, fold), []).append(float(value))
    spreads = [np.var(group, ddof=1) for group in by_fold.values() if len(group) > 1]
    return math.sqrt(float(np.mean(spreads)) / len(values)) if spreads else math.nan


def corrected_t(values: Sequence[float], folds: int, rope: float = ROPE) -> Corrected:
    """Corrected resampled t of values of repeated k-fold cross-validation.

    ``se = s sqrt(1 / m + 1 / (k - 1))`` for m values of k-fold cross-validation: the second term
    stands for the training molecules that the folds share (test over training share, 1 / (k - 1)).

    Parameters
    ----------
    values : sequence of float, (m,)
        One of each repeat and fold.
    folds : int
        k.
    rope : float
        Half width of the region of practical equivalence.
    """
    mean, df = float(np.mean(values)), len(values) - 1
    if df < 1 or folds < 2:
        return Corrected(mean, math.nan, 0, *[math.nan] * 6)
    se = float(np.std(values, ddof=1)) * math.sqrt(1 / len(values) + 1 / (folds - 1))
    if se == 0:
        return Corrected(mean, 0.0, df, mean, mean, float(mean == 0), *_certain(mean, rope))
    t = stats.t(df, loc=mean, scale=se)
    low, high = t.interval(CONFIDENCE)
    p = 2 * float(stats.t(df).sf(abs(mean) / se))
    better, worse = float(t.sf(rope)), float(t.cdf(-rope))
    return Corrected(mean, se, df, float(low), float(high), p, better, 1 - better - worse, worse)


def fold_means(values: Floats, keys: Sequence[Repeat]) -> list[float]:
    """Mean over the seeds of each repeat and fold."""
    by_fold: dict[tuple[int, int], list[float]] = {}
    for (_, repeat, fold), value in zip(keys, values, strict=True):
        by_fold.setdefault((repeat, fold), []).append(float(value))
    return [float(np.mean(by_fold[place])) for place in sorted(by_fold)]


def folds_of(keys: Sequence[Repeat]) -> int:
    """Return the number of folds of the cross-validation that trials are of."""
    return 1 + max(fold for _, _, fold in keys)


def _difference(
    values: Floats, keys: Sequence[Repeat], molecules: float, seed: float
) -> Difference:
    estimate = float(values.mean())
    se = math.hypot(molecules, 0.0 if math.isnan(seed) else seed)
    reach = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * se
    p = 2 * float(stats.norm.sf(abs(estimate) / se)) if se > 0 else float(estimate == 0)
    folds = fold_means(values, keys)
    return Difference(
        estimate=estimate,
        se_influence=molecules,
        se_seed=seed,
        se=se,
        low=estimate - reach,
        high=estimate + reach,
        p=p,
        corrected=corrected_t(folds, folds_of(keys)),
        smallest=POWER * se,
        folds=tuple(folds),
    )


def _certain(mean: float, rope: float) -> tuple[float, float, float]:
    return float(mean > rope), float(abs(mean) <= rope), float(mean < -rope)
