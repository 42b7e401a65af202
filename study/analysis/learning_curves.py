"""Learning curves: scores by fraction of the training data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import draw_scores, finished_arms, select_common_trials
from study.analysis.factor_grid import find_training_axes, format_arm
from study.analysis.paired import PairedDifference, estimate_difference, estimate_level
from study.analysis.power_law import (
    THREE,
    TWO,
    Censored,
    Form,
    PowerLaw,
    estimate_fraction_interval,
    find_fraction_needed,
    fit_power_law,
)
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import SIGNIFICANCE, Verdict, adjust_holm, judge
from study.planning.contrasts import Contrast, count_models
from study.planning.trials import Arm

FULL = 1.0
"""Fraction of the whole training fold."""


def group_arms_by_fraction(analysis: StudyAnalysis) -> dict[str, tuple[Arm, ...]]:
    """Return the arms of each curve by ascending fraction: at least two, with shared trials."""
    by_curve: dict[str, list[Arm]] = {}
    for arm in finished_arms(analysis):
        by_curve.setdefault(arm.curve_id, []).append(arm)
    ordered = {key: tuple(sorted(arms, key=_get_fraction)) for key, arms in by_curve.items()}
    return {
        key: arms
        for key, arms in ordered.items()
        if len(arms) > 1 and select_common_trials(analysis, arms)
    }


def pair_arms(analysis: StudyAnalysis) -> list[tuple[tuple[Arm, ...], Arm]]:
    """Return pairs of a curve and the full-data reference arm it is compared with, without repeats.

    The pairs are those of the contrasts declared at fraction 1, and every arm of several
    modalities against each of its modalities alone with the same training options. An ensemble is
    compared with a single model only if the study file allows it.
    """
    curves = group_arms_by_fraction(analysis)
    pairs = {(arm.curve_id, full.id): full for arm, full in _find_pairs(analysis)}
    return [(curves[curve], full) for (curve, _), full in pairs.items() if curve in curves]


def _find_pairs(analysis: StudyAnalysis) -> Iterator[tuple[Arm, Arm]]:
    full = [arm for arm in finished_arms(analysis) if arm.fraction == FULL]
    full_ids = {arm.id for arm in full}
    for contrast in analysis.contrasts:
        if contrast.arm.fraction == FULL and contrast.reference.id in full_ids:
            yield contrast.arm, contrast.reference
    any_size = analysis.results.spec.analysis.ensembles == "any"
    singles = [arm for arm in full if len(arm.features) == 1]
    for arm in full:
        keys = {feature.key for feature in arm.features} if len(arm.features) > 1 else set()
        for single in singles:
            comparable = (
                single.features[0].key in keys
                and single.comparable_training == arm.comparable_training
            )
            if comparable and (any_size or count_models(arm) == count_models(single)):
                yield arm, single


def _get_fraction(arm: Arm) -> float:
    return arm.fraction


REFITS, DRAWS = 200, 1000
"""Number of draws for the intervals of a power law, and of a data-efficiency fraction."""


@dataclass(frozen=True)
class LearningCurve:
    """Score of one arm by training fraction, for at least two fractions.

    Attributes
    ----------
    name : str
        Name of the arm without its fraction.
    curve_id : str
    arms : tuple of Arm, (k,)
        By ascending fraction.
    fractions, molecules : tuple of float, (k,)
        Share of the training fold, and its number of molecules (fit and validation part), mean
        over the trials.
    auroc, low, high : tuple of float, (k,)
        Macro AUROC on the trials that all fractions share, with the 95 % interval of the
        corrected t (NaN with one fold).
    two, three : PowerLaw or None
        Power law without and with a floor; None with fewer than 3 and 4 points, or if the fit
        failed.
    monotone : bool
        False if some fraction is significantly worse than a smaller one (paired test at 5 %, Holm
        adjusted over all pairs of fractions). Such a curve is flagged, not smoothed.
    """

    name: str
    curve_id: str
    arms: tuple[Arm, ...]
    fractions: tuple[float, ...]
    molecules: tuple[float, ...]
    auroc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    two: PowerLaw | None
    three: PowerLaw | None
    monotone: bool


@dataclass(frozen=True)
class DataEfficiency:
    """Smallest fraction at which an arm reaches the full-data score of its reference.

    Attributes
    ----------
    arm, reference : str
        Names of the curves.
    fraction : float
        By isotonic regression of the means and interpolation in the logarithm of the fraction; if
        `censored`, the largest (smallest) fraction of the curve.
    low, high : float
        95 % interval; 0 if it extends below the smallest fraction, infinite if it extends above
        the largest.
    censored : {'', 'above', 'below'}
        ``above``: not reached, so more than `fraction` is needed; ``below``: already reached at
        the smallest fraction, so at most `fraction` is needed.
    factor : float
        ``1 / fraction``, how many times as much data the reference needs; an upper bound if
        censored ``above``, a lower bound if ``below``.
    """

    arm: str
    reference: str
    fraction: float
    low: float
    high: float
    censored: Censored
    factor: float


@dataclass(frozen=True)
class FractionClaim:
    """Comparison of an arm on a fraction of the data with its reference on all of it.

    Attributes
    ----------
    arm : Arm
        At a fraction below 1.
    reference : Arm
        At fraction 1.
    difference : PairedDifference
        Difference on the same test folds.
    verdict : Verdict
        Verdict after Holm adjustment over all claims of the study.
    """

    arm: Arm
    reference: Arm
    difference: PairedDifference
    verdict: Verdict


def build_learning_curves(analysis: StudyAnalysis) -> tuple[LearningCurve, ...]:
    """Build the learning curve of every arm with at least two fractions.

    Intervals of the power laws are percentiles of refits to draws of the curve by
    `bootstrap.draw_scores` (groups of test molecules, and seeds).
    """
    axes = find_training_axes(analysis.results.plan.arms)
    return tuple(
        _build_curve(analysis, arms, axes) for arms in group_arms_by_fraction(analysis).values()
    )


def estimate_data_efficiency(analysis: StudyAnalysis) -> tuple[DataEfficiency, ...]:
    """Return the data-efficiency fraction of every pair of `pair_arms`.

    Scores are means over the trials that the reference and all fractions of the arm share;
    intervals come from their joint draws by `bootstrap.draw_scores`.
    """
    estimates = (_estimate_efficiency(analysis, arms, full) for arms, full in pair_arms(analysis))
    return tuple(estimate for estimate in estimates if estimate is not None)


def build_fraction_claims(analysis: StudyAnalysis) -> tuple[FractionClaim, ...]:
    """Compare every smaller fraction of the arms of `pair_arms` with the full-data reference.

    All comparisons form one family: p values are adjusted over the study.
    """
    sides = [
        (arm, full) for arms, full in pair_arms(analysis) for arm in arms if arm.fraction < FULL
    ]
    differences = [_estimate_difference(analysis, arm, full) for arm, full in sides]
    measured = [(s, d) for s, d in zip(sides, differences, strict=True) if d is not None]
    adjusted = adjust_holm([difference.p for _, difference in measured])
    return tuple(
        FractionClaim(arm, full, difference, judge(difference, p))
        for ((arm, full), difference), p in zip(measured, adjusted, strict=True)
    )


def _build_curve(
    analysis: StudyAnalysis, arms: tuple[Arm, ...], axes: Sequence[str]
) -> LearningCurve:
    all_scores = select_common_trials(analysis, arms)
    levels = [estimate_level(scores, analysis.groups, analysis.weights) for scores in all_scores]
    intervals = [interval for interval, _ in levels]
    # With one fold the corrected t is undefined; use the influence-curve standard error.
    usable = all(interval.se > 0 for interval in intervals)
    ses = np.array([interval.se if usable else molecules for interval, molecules in levels])
    means = np.array([interval.mean for interval in intervals])
    sizes = np.array([_count_molecules(analysis, scores) for scores in all_scores])
    draws = 1 - draw_scores(all_scores, analysis.groups, analysis.weights, REFITS)

    def fit_law(form: Form) -> PowerLaw | None:
        return fit_power_law(sizes, 1 - means, ses, form, draws)

    return LearningCurve(
        name=format_arm(arms[0], axes),
        curve_id=arms[0].curve_id,
        arms=arms,
        fractions=tuple(arm.fraction for arm in arms),
        molecules=tuple(sizes.tolist()),
        auroc=tuple(means.tolist()),
        low=tuple(interval.low for interval in intervals),
        high=tuple(interval.high for interval in intervals),
        two=fit_law(TWO),
        three=fit_law(THREE),
        monotone=not _has_drop(analysis, all_scores),
    )


def _has_drop(analysis: StudyAnalysis, arms: Sequence[ArmScores]) -> bool:
    """Whether a fraction is significantly worse than a smaller one."""
    differences = [
        estimate_difference(larger, smaller, analysis.groups, analysis.weights)
        for smaller, larger in itertools.combinations(arms, 2)
    ]
    # Holm only increases p, so it can be skipped (statsmodels is slow to import).
    if not any(d.estimate < 0 and d.p < SIGNIFICANCE for d in differences):
        return False
    adjusted = adjust_holm([difference.p for difference in differences])
    pairs = zip(differences, adjusted, strict=True)
    return any(d.estimate < 0 and p < SIGNIFICANCE for d, p in pairs)


def _count_molecules(analysis: StudyAnalysis, arm: ArmScores) -> float:
    """Return the number of training molecules (fit and validation part), mean over the trials."""
    fraction = arm.arm.fraction
    folds = {(fold.repeat, fold.index): fold for fold in analysis.results.data.split.folds}
    used = (folds[repeat, fold] for _, repeat, fold in arm.keys)
    return float(np.mean([len(f.fit[fraction]) + len(f.validation[fraction]) for f in used]))


def _estimate_difference(analysis: StudyAnalysis, arm: Arm, full: Arm) -> PairedDifference | None:
    contrast = Contrast("data fraction", arm, full)
    if not analysis.shared(contrast):
        return None
    return estimate_difference(*analysis.pair(contrast), analysis.groups, analysis.weights)


def _estimate_efficiency(
    analysis: StudyAnalysis, arms: tuple[Arm, ...], full: Arm
) -> DataEfficiency | None:
    all_scores = select_common_trials(analysis, (*arms, full))
    if not all_scores:
        return None
    fractions = np.array([arm.fraction for arm in arms])
    means = np.array([scores.values(analysis.weights).mean() for scores in all_scores])
    needed = find_fraction_needed(fractions, means[:-1], means[-1])
    draws = draw_scores(all_scores, analysis.groups, analysis.weights, DRAWS)
    low, high = estimate_fraction_interval(fractions, draws[:, :-1], draws[:, -1])
    axes = find_training_axes(analysis.results.plan.arms)
    names = format_arm(arms[0], axes), format_arm(full, axes)
    return DataEfficiency(*names, needed.fraction, low, high, needed.censored, 1 / needed.fraction)


__all__ = [
    "DataEfficiency",
    "FractionClaim",
    "LearningCurve",
    "PowerLaw",
    "build_fraction_claims",
    "build_learning_curves",
    "estimate_data_efficiency",
]
