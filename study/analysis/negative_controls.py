"""Negative controls: differences between two seeds of one arm, the noise that gains must exceed.

Shapes: n molecules, l labels, r trials, k density fifths.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from study.analysis.arm_scores import ArmScores, build_arm_scores
from study.analysis.influence import Floats
from study.analysis.paired import (
    CONFIDENCE,
    PairedDifference,
    estimate_difference,
    estimate_seed_error,
)
from study.analysis.study_analysis import StudyAnalysis
from study.planning.trials import Arm, Repeat, get_repeat
from study.results.trial_result import TrialResult


@dataclass(frozen=True)
class NullRibbon:
    """95 % range of the gain of an arm over itself under other seeds.

    Attributes
    ----------
    fifth_low, fifth_high : tuple of float, (k,)
        Range of the gain of each density fifth, densest first.
    slope_low, slope_high : float
        Range of the slope of the gain; NaN where the slope is NaN.
    pairs : int
        Number of pairs of seeds that it is estimated from.
    """

    fifth_low: tuple[float, ...]
    fifth_high: tuple[float, ...]
    slope_low: float
    slope_high: float
    pairs: int


def estimate_null_ribbon(
    arm: ArmScores, fifths: Sequence[Floats], slope: Floats
) -> NullRibbon | None:
    """Return the range of the gains between seeds; None for an arm with one seed.

    Two seeds on one fold have the same expectation, so their difference is pure noise. Its
    variance is the mean square over all pairs of seeds of a fold, pooled over the folds. A
    contrast averages S seeds and F folds on both sides, and every fit has an independent seed, so
    the variance of its gain under the null is 1 / (S F) of that of one pair on one fold. The range
    is that of a t distribution around 0 with F (S - 1) degrees of freedom.

    Parameters
    ----------
    arm : ArmScores
    fifths : sequence of ndarray of float64, (k, l)
        Label weights of each fifth.
    slope : ndarray of float64, (l,)
        Label weights of the slope.
    """
    if not _pair_seeds(arm):
        return None
    half_widths = [_half_width(arm, weights) for weights in fifths]
    slope_half_width = _half_width(arm, slope)
    seeds = len({seed for seed, _, _ in arm.keys})
    pairs = seeds * (seeds - 1) // 2
    low = tuple(-value for value in half_widths)
    return NullRibbon(low, tuple(half_widths), -slope_half_width, slope_half_width, pairs)


def estimate_oracle_gains(arm: ArmScores, fifths: Sequence[Floats]) -> tuple[float, ...]:
    """Return the spurious gain of choosing between two equal models on the test folds.

    Each label is given to the better of two seeds according to the test fold itself: the mean over
    folds and pairs of ``max(a, b) - (a + b) / 2``. Nothing was learned, yet the gain is positive
    and larger for rarer labels.

    Returns
    -------
    tuple of float
        Gain of each of `fifths`; empty with one seed.
    """
    gains = [np.abs(one - other) / 2 for one, other in _pair_seeds(arm)]
    if not gains:
        return ()
    mean = np.mean(gains, axis=0)  # (l,)
    return tuple(_weigh(mean, weights) for weights in fifths)


def _pair_seeds(arm: ArmScores) -> list[tuple[Floats, Floats]]:
    """Return the AUROC (l,) of every pair of seeds on the same fold."""
    by_fold: dict[tuple[int, int], list[Floats]] = {}
    for (_, repeat, fold), values in zip(arm.keys, arm.auroc, strict=True):
        by_fold.setdefault((repeat, fold), []).append(values)
    return [pair for group in by_fold.values() for pair in itertools.combinations(group, 2)]


def _half_width(arm: ArmScores, weights: Floats) -> float:
    """Return the half width of the 95 % range of the gain of an arm over itself."""
    if not weights.any():
        return math.nan
    folds = {(repeat, fold) for _, repeat, fold in arm.keys}
    se = math.sqrt(2) * estimate_seed_error(arm.values(weights), arm.keys)
    quantile = stats.t(len(arm.keys) - len(folds)).ppf((1 + CONFIDENCE) / 2)
    return float(quantile) * se


def _weigh(values: Floats, weights: Floats) -> float:
    weighted = weights != 0
    return float(values[weighted] @ weights[weighted])


def split_seeds(
    results: Sequence[TrialResult],
    groups: NDArray[np.int64],
    sides: tuple[Sequence[int], Sequence[int]],
) -> tuple[ArmScores, ArmScores]:
    """Split the trials of one arm by seed into two arms that can be compared.

    Parameters
    ----------
    results : sequence of TrialResult
        Results of one arm.
    groups : ndarray of int64, (n,)
        Groups of the split.
    sides : two sequences of int
        Seeds of each side, ascending and equally many; they are paired by position.

    Raises
    ------
    StudyError
        The sides share no fold.
    """
    finished = {get_repeat(result.spec) for result in results}
    shared = [
        {(side.index(seed), repeat, fold) for seed, repeat, fold in finished if seed in side}
        for side in sides
    ]
    positions = shared[0] & shared[1]
    return (
        _select_seeds(results, groups, sides[0], positions),
        _select_seeds(results, groups, sides[1], positions),
    )


def estimate_seed_null(analysis: StudyAnalysis, arm: Arm) -> tuple[PairedDifference, ...]:
    """Return the difference of every pair of seeds of an arm on their shared folds."""
    results = analysis.results.results_of(arm)
    seeds = sorted({get_repeat(result.spec)[0] for result in results})
    pairs = (
        split_seeds(results, analysis.groups, ((one,), (other,)))
        for one, other in itertools.combinations(seeds, 2)
    )
    return tuple(estimate_difference(a, b, analysis.groups, analysis.weights) for a, b in pairs)


def _select_seeds(
    results: Sequence[TrialResult],
    groups: NDArray[np.int64],
    seeds: Sequence[int],
    positions: set[Repeat],
) -> ArmScores:
    """Collect the trials with these seeds, with each seed replaced by its position in `seeds`."""
    keys = {(seeds[position], repeat, fold) for position, repeat, fold in positions}
    arm = build_arm_scores(results, len(groups), keys, groups)
    return replace(arm, keys=tuple((seeds.index(s), repeat, fold) for s, repeat, fold in arm.keys))
