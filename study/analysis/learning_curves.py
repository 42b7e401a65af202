"""Learning curves: scores against the fraction of the training data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import common_arms, draw_scores, finished_arms
from study.analysis.factor_grid import format_arm, training_axes
from study.analysis.paired import PairedDifference, estimate_difference, estimate_level
from study.analysis.power_law import (
    THREE,
    TWO,
    Censored,
    Form,
    PowerLaw,
    find_fraction_needed,
    fit_power_law,
    fraction_needed_interval,
)
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import LEVEL, Verdict, adjust_holm, judge
from study.planning.contrasts import Contrast, count_models
from study.planning.trials import Arm

FULL = 1.0
"""The fraction that is the whole training fold."""


def group_arms_by_fraction(evidence: StudyAnalysis) -> dict[str, tuple[Arm, ...]]:
    """Return the arms of each curve by rising fraction: at least two that share trials."""
    found: dict[str, list[Arm]] = {}
    for arm in finished_arms(evidence):
        found.setdefault(arm.curve_id, []).append(arm)
    ordered = {key: tuple(sorted(arms, key=_fraction)) for key, arms in found.items()}
    return {
        key: arms for key, arms in ordered.items() if len(arms) > 1 and common_arms(evidence, arms)
    }


def pair_arms(evidence: StudyAnalysis) -> list[tuple[tuple[Arm, ...], Arm]]:
    """Return the curve of an arm and the full-data arm of its rival, every pair once.

    The pairs are those of the contrasts declared at fraction 1, and every arm of several
    modalities against each of its own modalities alone under the same training numbers; an
    ensemble is no rival of a single model unless the file says so.
    """
    by_arm = group_arms_by_fraction(evidence)
    found = {(arm.curve_id, full.id): full for arm, full in _rivals(evidence)}
    return [(by_arm[arm], full) for (arm, _), full in found.items() if arm in by_arm]


def _rivals(evidence: StudyAnalysis) -> Iterator[tuple[Arm, Arm]]:
    full = [arm for arm in finished_arms(evidence) if arm.fraction == FULL]
    known = {arm.id for arm in full}
    for each in evidence.contrasts:
        if each.arm.fraction == FULL and each.reference.id in known:
            yield each.arm, each.reference
    any_size = evidence.record.spec.analysis.ensembles == "any"
    singles = [arm for arm in full if len(arm.features) == 1]
    for arm in full:
        keys = {feature.key for feature in arm.features} if len(arm.features) > 1 else set()
        for single in singles:
            same = single.features[0].key in keys and single.shared == arm.shared
            if same and (any_size or count_models(arm) == count_models(single)):
                yield arm, single


def _fraction(arm: Arm) -> float:
    return arm.fraction


REFITS, DRAWS = 200, 1000
"""Draws of a curve for the intervals of a power law, and of a data-efficiency fraction."""


@dataclass(frozen=True)
class LearningCurve:
    """Score of one arm by training fraction, at least two of them.

    Attributes
    ----------
    name : str
        The arm without its fraction.
    arm_id : str
    arms : tuple of Arm, (k,)
        By rising fraction.
    fractions, molecules : tuple of float, (k,)
        Share of the training fold; molecules in it (fitted on and used for validation), mean
        over the trials.
    auroc, low, high : tuple of float, (k,)
        Macro AUROC over the trials that all fractions share, with the 95 % interval of the
        corrected t; NaN with one fold.
    two, three : PowerLaw or None
        Without and with a floor; None with fewer than 3 and 4 points, or where the fit failed.
    monotone : bool
        False if some fraction is worse than a smaller one by more than noise: a paired 5 % test,
        Holm over all pairs of fractions. Such a curve is flagged and not smoothed.
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
    """Smallest fraction at which an arm reaches the score of its reference with all the data.

    Attributes
    ----------
    arm, reference : str
        Names of curves.
    fraction : float
        By isotonic regression of the observed means and interpolation in the logarithm of the
        fraction; the largest (smallest) fraction of the curve where `censored`.
    low, high : float
        95 % interval; 0 where it reaches below the smallest fraction, infinite where it reaches
        above the largest.
    censored : {'', 'above', 'below'}
        ``above``: not reached, so that more than `fraction` is needed; ``below``: reached at
        `fraction`, the smallest there is, so that at most that is needed.
    factor : float
        ``1 / fraction``: times as much data the reference needs; an upper bound where censored
        'above', a lower bound where 'below'.
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
    """An arm with a fraction of the data against its reference with all of it.

    Attributes
    ----------
    arm : Arm
        At a fraction below 1.
    reference : Arm
        At fraction 1.
    difference : PairedDifference
        Paired on the same test folds.
    verdict : Verdict
        After Holm over all claims of the study.
    """

    arm: Arm
    reference: Arm
    difference: PairedDifference
    verdict: Verdict


def build_learning_curves(evidence: StudyAnalysis) -> tuple[LearningCurve, ...]:
    """Return the learning curve of every arm with at least two fractions.

    Intervals of the power laws are percentiles of refits to draws of the curve
    (`bootstrap.draw_scores`: test molecules by group, and seeds).
    """
    axes = training_axes(evidence.record.plan.arms)
    return tuple(_curve(evidence, arms, axes) for arms in group_arms_by_fraction(evidence).values())


def estimate_data_efficiency(evidence: StudyAnalysis) -> tuple[DataEfficiency, ...]:
    """Return the data-efficiency fraction of every pair that `build_fraction_claims` compares.

    Over the trials that the reference and all fractions of the arm share; intervals from draws
    of all of them together (`bootstrap.draw_scores`).
    """
    found = (_efficiency(evidence, arms, full) for arms, full in pair_arms(evidence))
    return tuple(each for each in found if each is not None)


def build_fraction_claims(evidence: StudyAnalysis) -> tuple[FractionClaim, ...]:
    """Return every claim 'this arm at fraction f against that arm with all the data'.

    The pairs are those of the contrasts declared at fraction 1, and every arm of several
    modalities against each of its own modalities alone under the same training numbers (an
    ensemble against a single model only if the file says so); f is every smaller fraction of the
    arm. All of them are one family: Holm runs over the study.
    """
    sides = [
        (arm, full) for arms, full in pair_arms(evidence) for arm in arms if arm.fraction < FULL
    ]
    differences = [_compare(evidence, arm, full) for arm, full in sides]
    measured = [(s, d) for s, d in zip(sides, differences, strict=True) if d is not None]
    adjusted = adjust_holm([difference.p for _, difference in measured])
    return tuple(
        FractionClaim(arm, full, difference, judge(difference, p))
        for ((arm, full), difference), p in zip(measured, adjusted, strict=True)
    )


def _curve(evidence: StudyAnalysis, arms: tuple[Arm, ...], axes: Sequence[str]) -> LearningCurve:
    all_scores = common_arms(evidence, arms)
    levels = [estimate_level(scores, evidence.groups, evidence.weights) for scores in all_scores]
    intervals = [found for found, _ in levels]
    usable = all(found.se > 0 for found in intervals)
    ses = np.array([found.se if usable else molecules for found, molecules in levels])
    means = np.array([found.mean for found in intervals])
    sizes = np.array([_molecules(evidence, scores) for scores in all_scores])
    draws = 1 - draw_scores(all_scores, evidence.groups, evidence.weights, REFITS)

    def law(form: Form) -> PowerLaw | None:
        return fit_power_law(sizes, 1 - means, ses, form, draws)

    return LearningCurve(
        name=format_arm(arms[0], axes),
        curve_id=arms[0].curve_id,
        arms=arms,
        fractions=tuple(arm.fraction for arm in arms),
        molecules=tuple(sizes.tolist()),
        auroc=tuple(means.tolist()),
        low=tuple(found.low for found in intervals),
        high=tuple(found.high for found in intervals),
        two=law(TWO),
        three=law(THREE),
        monotone=not _drops(evidence, all_scores),
    )


def _drops(evidence: StudyAnalysis, arms: Sequence[ArmScores]) -> bool:
    """Whether a fraction is worse than a smaller one, Holm over all pairs of fractions."""
    found = [
        estimate_difference(larger, smaller, evidence.groups, evidence.weights)
        for smaller, larger in itertools.combinations(arms, 2)
    ]
    if not any(each.estimate < 0 and each.p < LEVEL for each in found):
        return False  # Holm only raises p
    adjusted = adjust_holm([difference.p for difference in found])
    return any(d.estimate < 0 and p < LEVEL for d, p in zip(found, adjusted, strict=True))


def _molecules(evidence: StudyAnalysis, arm: ArmScores) -> float:
    """Training molecules of an arm: those fitted on and those of the validation part."""
    fraction = arm.arm.fraction
    folds = {(fold.repeat, fold.index): fold for fold in evidence.record.data.split.folds}
    used = (folds[repeat, fold] for _, repeat, fold in arm.keys)
    return float(np.mean([len(f.fit[fraction]) + len(f.validation[fraction]) for f in used]))


def _compare(evidence: StudyAnalysis, arm: Arm, full: Arm) -> PairedDifference | None:
    contrast = Contrast("data fraction", arm, full)
    if not evidence.shared(contrast):
        return None
    return estimate_difference(*evidence.pair(contrast), evidence.groups, evidence.weights)


def _efficiency(evidence: StudyAnalysis, arms: tuple[Arm, ...], full: Arm) -> DataEfficiency | None:
    all_scores = common_arms(evidence, (*arms, full))
    if not all_scores:
        return None
    fractions = np.array([arm.fraction for arm in arms])
    means = np.array([scores.values(evidence.weights).mean() for scores in all_scores])
    found = find_fraction_needed(fractions, means[:-1], means[-1])
    draws = draw_scores(all_scores, evidence.groups, evidence.weights, DRAWS)
    low, high = fraction_needed_interval(fractions, draws[:, :-1], draws[:, -1])
    axes = training_axes(evidence.record.plan.arms)
    names = format_arm(arms[0], axes), format_arm(full, axes)
    return DataEfficiency(*names, found.fraction, low, high, found.censored, 1 / found.fraction)


__all__ = [
    "DataEfficiency",
    "FractionClaim",
    "LearningCurve",
    "PowerLaw",
    "build_fraction_claims",
    "build_learning_curves",
    "estimate_data_efficiency",
]
