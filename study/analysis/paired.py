"""Confidence interval of a paired difference: influence curve, seed term and corrected t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.arm_scores import ArmScores
from study.analysis.influence import Floats
from study.config.contrasts import POWER, ROPE
from study.errors import StudyError
from study.planning.trials import Repeat

CONFIDENCE = 0.95


@dataclass(frozen=True)
class CorrectedT:
    """Corrected t of a difference over the folds of a cross-validation.

    Attributes
    ----------
    mean, se : float
    df : int
        Degrees of freedom; 0 with one fold, where everything but the mean is NaN.
    low, high : float
        95 % interval.
    p : float
        Two-sided p value of no difference.
    better, equivalent, worse : float
        Posterior probabilities that the difference lies above, in and below the region of
        practical equivalence, with a flat prior (Corani & Benavoli 2015, Mach. Learn. 100:285).
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


def compute_corrected_t(values: Sequence[float], folds: int, rope: float = ROPE) -> CorrectedT:
    """Return the corrected resampled t of values from repeated k-fold cross-validation.

    ``se = s sqrt(1 / m + 1 / (k - 1))`` for m values of k-fold cross-validation. The second term
    accounts for the overlap of the training sets; it is the ratio of test to training size.

    Parameters
    ----------
    values : sequence of float, (m,)
        One value per repeat and fold.
    folds : int
        Number of folds, k.
    rope : float
        Half width of the region of practical equivalence.
    """
    mean, df = float(np.mean(values)), len(values) - 1
    if df < 1 or folds < 2:
        return CorrectedT(mean, math.nan, 0, *[math.nan] * 6)
    se = float(np.std(values, ddof=1)) * math.sqrt(1 / len(values) + 1 / (folds - 1))
    if se == 0:
        return CorrectedT(
            mean, 0.0, df, mean, mean, float(mean == 0), *_compare_with_rope(mean, rope)
        )
    posterior = stats.t(df, loc=mean, scale=se)
    low, high = posterior.interval(CONFIDENCE)
    p = 2 * float(stats.t(df).sf(abs(mean) / se))
    better, worse = float(posterior.sf(rope)), float(posterior.cdf(-rope))
    return CorrectedT(mean, se, df, float(low), float(high), p, better, 1 - better - worse, worse)


def _compare_with_rope(mean: float, rope: float) -> tuple[float, float, float]:
    return float(mean > rope), float(abs(mean) <= rope), float(mean < -rope)


class SeedTerm(NamedTuple):
    """Contribution of the seeds to the standard error of a mean over trials.

    Attributes
    ----------
    se : float
        NaN where unknown.
    variance : float
        The variance estimate on `df` degrees of freedom that `se` derives from.
    df : int
    source : {'seeds', 'folds', ''}
        Whether it was estimated between seeds of a fold or from the spread of the folds.
    """

    se: float
    variance: float
    df: int
    source: str


def estimate_seed_term(values: Floats, keys: Sequence[Repeat], molecules: float) -> SeedTerm:
    """Return the contribution of the seeds to the standard error of a paired difference.

    With several seeds per fold this is `estimate_seed_error`. With one seed it is the spread of the
    folds beyond that of their test molecules. Let s^2 be the variance over the k folds of a
    repeat, pooled over R repeats. The test molecules account for ``k molecules^2`` of it, which
    leaves ``(s^2 / k - molecules^2) / R`` for the seeds of R k trials, or 0 if that is negative.

    Without this term two seeds of one model would differ significantly in up to 8 of 10 pairs (if
    seeds matter more than molecules); with it in at most 1 of 20, because the folds of a pure
    seed difference are independent.

    Parameters
    ----------
    values : ndarray of float64, (r,)
        Difference of each trial.
    keys : sequence of Repeat, (r,)
    molecules : float
        Standard error of the mean difference due to the test molecules.
    """
    spreads, count = _compute_seed_variances(values, keys), len(values)
    if spreads:
        variance = float(np.mean(spreads)) / count
        return SeedTerm(math.sqrt(variance), variance, count - _count_test_folds(keys), "seeds")
    repeats: dict[int, list[float]] = {}
    for (_, repeat, _), value in zip(keys, values, strict=True):
        repeats.setdefault(repeat, []).append(float(value))
    several = [group for group in repeats.values() if len(group) > 1]
    if not several:
        return SeedTerm(math.nan, math.nan, 0, "")
    freedoms = np.array([len(group) - 1 for group in several])
    spread = float(np.average([np.var(g, ddof=1) for g in several], weights=freedoms))
    excess = max(0.0, spread / count - molecules**2 / len(repeats))
    return SeedTerm(math.sqrt(excess), spread / count, int(freedoms.sum()), "folds")


def estimate_seed_error(values: Floats, keys: Sequence[Repeat]) -> float:
    """Return the standard error of a mean over trials due to their seeds; NaN with one seed.

    It is the variance between the seeds of a fold, pooled over repeats and folds, divided by the
    number of trials, because every trial is trained from an independent seed.

    Parameters
    ----------
    values : ndarray of float64, (r,)
    keys : sequence of Repeat, (r,)
    """
    spreads = _compute_seed_variances(values, keys)
    return math.sqrt(float(np.mean(spreads)) / len(values)) if spreads else math.nan


def average_over_seeds(values: Floats, keys: Sequence[Repeat]) -> list[float]:
    """Return the mean over the seeds of each repeat and fold."""
    by_fold = _group_by_fold(values, keys)
    return [float(np.mean(by_fold[key])) for key in sorted(by_fold)]


def count_folds(keys: Sequence[Repeat]) -> int:
    """Return the number of folds of the cross-validation that the trials belong to."""
    return 1 + max(fold for _, _, fold in keys)


def _group_by_fold(values: Floats, keys: Sequence[Repeat]) -> dict[tuple[int, int], list[float]]:
    """Return the values of all seeds by repeat and fold."""
    by_fold: dict[tuple[int, int], list[float]] = {}
    for (_, repeat, fold), value in zip(keys, values, strict=True):
        by_fold.setdefault((repeat, fold), []).append(float(value))
    return by_fold


def _count_test_folds(keys: Sequence[Repeat]) -> int:
    return len({(repeat, fold) for _, repeat, fold in keys})


def _compute_seed_variances(values: Floats, keys: Sequence[Repeat]) -> list[float]:
    """Return the variance between seeds of each fold with several seeds."""
    groups = _group_by_fold(values, keys).values()
    return [float(np.var(group, ddof=1)) for group in groups if len(group) > 1]


@dataclass(frozen=True)
class PairedDifference:
    """AUROC of an arm minus that of its reference on the same folds and seeds.

    Attributes
    ----------
    estimate : float
    se_influence : float
        Standard error due to the sample of test molecules.
    se_seed : float
        Standard error due to initialization and batch order; NaN with one seed and one fold,
        which do not allow an estimate.
    se, low, high, p : float
        Standard error from both sources (without the seed term if it is NaN), 95 % interval,
        two-sided p value.
    corrected : CorrectedT
        Corrected t of the same difference, a more conservative bound.
    smallest : float
        Minimum detectable effect: 80 % power at the two-sided 5 % level, 2.8 standard errors
        (a little more with few degrees of freedom).
    folds : tuple of float
        Difference of each repeat and fold, mean over the seeds.
    df : float
        Degrees of freedom of the interval and of p; infinite without a seed term.
    seed_from : {'seeds', 'folds', ''}
        Source of the seed term: several seeds per fold or, with one seed, the spread of the
        folds.
    """

    estimate: float
    se_influence: float
    se_seed: float
    se: float
    low: float
    high: float
    p: float
    corrected: CorrectedT
    smallest: float
    folds: tuple[float, ...]
    df: float = math.inf
    seed_from: str = "seeds"


def estimate_difference(
    arm: ArmScores,
    reference: ArmScores,
    groups: NDArray[np.int64],
    weights: Floats,
    rope: float = ROPE,
) -> PairedDifference:
    """Estimate the difference between two arms over the same trials.

    The standard error has two parts: the influence curve covers another sample of test molecules
    with the trained models held fixed, `estimate_seed_term` covers other trained models.

    Parameters
    ----------
    arm, reference : ArmScores
        Arms with the same keys.
    groups : ndarray of int64, (n,)
        Groups of the split; molecules of one group are sampled together.
    weights : ndarray of float64, (l,)
        Weight of each label in the statistic; `build_macro_weights` for the macro mean.
    rope : float
        Half width of the region of practical equivalence.

    Raises
    ------
    StudyError
        The arms do not have the same trials.
    """
    if arm.keys != reference.keys:
        raise StudyError(
            f"{arm.arm} and {reference.arm} have different trials; compare them on the trials "
            "that both have finished"
        )
    values = arm.values(weights) - reference.values(weights)
    molecules = compute_standard_error(
        arm.weighted_influence(weights) - reference.weighted_influence(weights), groups
    )
    return _build_difference(
        values, arm.keys, (molecules, estimate_seed_term(values, arm.keys, molecules)), rope
    )


def estimate_level(
    arm: ArmScores, groups: NDArray[np.int64], weights: Floats
) -> tuple[CorrectedT, float]:
    """Return the corrected t of an arm's AUROC and its influence-curve standard error."""
    folds = average_over_seeds(arm.values(weights), arm.keys)
    se_influence = compute_standard_error(arm.weighted_influence(weights), groups)
    return compute_corrected_t(folds, count_folds(arm.keys)), se_influence


def build_macro_weights(labels: int) -> Floats:
    """Return the label weights of `study.metrics.macro_mean`, (l,)."""
    return np.full(labels, 1 / labels)


def compute_standard_error(influence: NDArray[np.floating], groups: NDArray[np.int64]) -> float:
    """Return the root of the sum of squared influences, summed within groups first.

    Parameters
    ----------
    influence : ndarray of float, (n,)
        Influence of each molecule.
    groups : ndarray of int64, (n,)
    """
    sums = np.bincount(groups, weights=influence)
    return float(np.sqrt((sums**2).sum()))


def _build_difference(
    values: Floats, keys: Sequence[Repeat], errors: tuple[float, SeedTerm], rope: float
) -> PairedDifference:
    (molecules, seed), estimate = errors, float(values.mean())
    se, df = _combine_errors(molecules, seed)
    quantile = _compute_t_quantile(df)
    folds = average_over_seeds(values, keys)
    return PairedDifference(
        estimate=estimate,
        se_influence=molecules,
        se_seed=seed.se,
        se=se,
        low=estimate - quantile * se,
        high=estimate + quantile * se,
        p=_compute_p_value(estimate, se, df),
        corrected=compute_corrected_t(folds, count_folds(keys), rope),
        smallest=(POWER + quantile - _compute_t_quantile(math.inf)) * se,
        folds=tuple(folds),
        df=df,
        seed_from=seed.source,
    )


def _combine_errors(molecules: float, seed: SeedTerm) -> tuple[float, float]:
    """Return standard error and degrees of freedom of a difference.

    With one seed the interval is never narrower than that of the plain t over the folds. In 1,200
    simulated pairs of two seeds of one model this lowered the share of significant differences
    from 3.5 and 4.7 % to 2.9 and 3.6 %, with intervals that are 4 to 7 % wider.
    """
    se = math.hypot(molecules, 0.0 if math.isnan(seed.se) else seed.se)
    candidates = [(se, _estimate_degrees_of_freedom(se, seed))]
    if seed.source == "folds":
        candidates.append((math.sqrt(seed.variance), seed.df))
    return max(candidates, key=lambda candidate: candidate[0] * _compute_t_quantile(candidate[1]))


def _compute_t_quantile(df: float) -> float:
    """Return the half width of the interval in standard errors."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, df))


def _estimate_degrees_of_freedom(se: float, seed: SeedTerm) -> float:
    """Return the degrees of freedom of ``se^2``, whose seed term is estimated (Satterthwaite)."""
    if not seed.se > 0:
        return math.inf
    return seed.df * (se**2 / seed.variance) ** 2


def _compute_p_value(estimate: float, se: float, df: float) -> float:
    """Return the two-sided p value of no difference; NaN if the difference is undefined."""
    if math.isnan(estimate) or math.isnan(se):
        return math.nan
    return 2 * float(stats.t.sf(abs(estimate) / se, df)) if se > 0 else float(estimate == 0)


__all__ = [
    "CONFIDENCE",
    "POWER",
    "ROPE",
    "CorrectedT",
    "PairedDifference",
    "average_over_seeds",
    "build_macro_weights",
    "compute_corrected_t",
    "compute_standard_error",
    "count_folds",
    "estimate_difference",
    "estimate_level",
    "estimate_seed_error",
]
