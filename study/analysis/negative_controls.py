"""What two seeds of one arm differ by: the noise that a gain has to stand out of.

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
from study.analysis.paired import CONFIDENCE, PairedDifference, estimate_difference, seed_error
from study.analysis.study_analysis import StudyAnalysis
from study.planning.trials import Arm, Repeat, repeat_of
from study.results.trial_result import TrialResult


@dataclass(frozen=True)
class NullRibbon:
    """95 % range of the gains that an arm shows against itself under other seeds.

    Attributes
    ----------
    fifth_low, fifth_high : tuple of float, (k,)
        By density fifth, densest first.
    slope_low, slope_high : float
        Of the slope of the gain; NaN where the slope is.
    pairs : int
        Pairs of seeds that it is made from.
    """

    fifth_low: tuple[float, ...]
    fifth_high: tuple[float, ...]
    slope_low: float
    slope_high: float
    pairs: int


def estimate_null_ribbon(
    arm: ArmScores, fifths: Sequence[Floats], slope: Floats
) -> NullRibbon | None:
    """Return the range of seed-against-seed gains; None for an arm with one seed.

    Two seeds on one fold have the same expectation, so their difference is noise and no more.
    Its variance is the mean square over all pairs of seeds of a fold, pooled over the folds. A
    contrast averages S seeds and F folds on both sides, and every fit has its own seed: the
    variance of its gain under the null is 1 / (S F) of that of one pair on one fold. The range
    is that of a t with F (S - 1) degrees of freedom about 0.

    Parameters
    ----------
    arm : ArmScores
    fifths : sequence of ndarray of float64, (k, l)
        Label weights of each fifth.
    slope : ndarray of float64, (l,)
        Label weights of the slope.
    """
    if not _seed_pairs(arm):
        return None
    reach = [_reach(arm, weights) for weights in fifths]
    slope_reach = _reach(arm, slope)
    seeds = len({seed for seed, _, _ in arm.keys})
    pairs = seeds * (seeds - 1) // 2
    low = tuple(-value for value in reach)
    return NullRibbon(low, tuple(reach), -slope_reach, slope_reach, pairs)


def estimate_oracle_gains(arm: ArmScores, fifths: Sequence[Floats]) -> tuple[float, ...]:
    """Return the gain that a choice on the test folds would claim between two equal models.

    Each label goes to the better of two seeds, judged on the test fold itself: the mean over
    folds and pairs of ``max(a, b) - (a + b) / 2``. Nothing was learned, yet the gain is positive
    and grows as labels get rarer.

    Returns
    -------
    tuple of float
        One for each of `fifths`; empty with one seed.
    """
    gains = [np.abs(one - other) / 2 for one, other in _seed_pairs(arm)]
    if not gains:
        return ()
    mean = np.mean(gains, axis=0)  # (l,)
    return tuple(_sum(mean, weights) for weights in fifths)


def _seed_pairs(arm: ArmScores) -> list[tuple[Floats, Floats]]:
    """Return the AUROC (l,) of every two seeds on the same fold."""
    by_fold: dict[tuple[int, int], list[Floats]] = {}
    for (_, repeat, fold), values in zip(arm.keys, arm.auroc, strict=True):
        by_fold.setdefault((repeat, fold), []).append(values)
    return [pair for group in by_fold.values() for pair in itertools.combinations(group, 2)]


def _reach(arm: ArmScores, weights: Floats) -> float:
    """Half width of the 95 % range of a weighted sum over labels between two arms like this."""
    if not weights.any():
        return math.nan
    folds = {(repeat, fold) for _, repeat, fold in arm.keys}
    se = math.sqrt(2) * seed_error(arm.values(weights), arm.keys)
    quantile = stats.t(len(arm.keys) - len(folds)).ppf((1 + CONFIDENCE) / 2)
    return float(quantile) * se


def _sum(values: Floats, weights: Floats) -> float:
    used = weights != 0
    return float(values[used] @ weights[used])


def split_seeds(
    results: Sequence[TrialResult],
    groups: NDArray[np.int64],
    sides: tuple[Sequence[int], Sequence[int]],
) -> tuple[ArmScores, ArmScores]:
    """Set some seeds of an arm against others, as if they were two arms.

    Parameters
    ----------
    results : sequence of TrialResult
        Of one arm.
    groups : ndarray of int64, (n,)
        Groups of the split.
    sides : two sequences of int
        Seeds of either side, rising, equally many: the first is paired with the first.

    Raises
    ------
    StudyError
        A side has no finished trial on a fold that the other has, or nothing at all.
    """
    seen = {repeat_of(result.spec) for result in results}
    shared = [
        {(side.index(seed), repeat, fold) for seed, repeat, fold in seen if seed in side}
        for side in sides
    ]
    places = shared[0] & shared[1]
    return (
        _side(results, groups, sides[0], places),
        _side(results, groups, sides[1], places),
    )


def estimate_seed_null(evidence: StudyAnalysis, arm: Arm) -> tuple[PairedDifference, ...]:
    """Difference of every two seeds of an arm on the folds both have; empty with one seed."""
    results = evidence.record.results_of(arm)
    seeds = sorted({repeat_of(result.spec)[0] for result in results})
    pairs = (
        split_seeds(results, evidence.groups, ((one,), (other,)))
        for one, other in itertools.combinations(seeds, 2)
    )
    return tuple(estimate_difference(a, b, evidence.groups, evidence.weights) for a, b in pairs)


def _side(
    results: Sequence[TrialResult],
    groups: NDArray[np.int64],
    seeds: Sequence[int],
    places: set[Repeat],
) -> ArmScores:
    """Gather the trials with these seeds; a seed becomes its position among them."""
    keys = {(seeds[position], repeat, fold) for position, repeat, fold in places}
    arm = build_arm_scores(results, len(groups), keys, groups)
    return replace(arm, keys=tuple((seeds.index(s), repeat, fold) for s, repeat, fold in arm.keys))
