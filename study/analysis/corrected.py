"""The corrected t of cross-validation: a conservative bound beside the influence curve.

Nadeau & Bengio 2003 (Mach. Learn. 52:239), and the same t read as a posterior (Corani & Benavoli
2015, Mach. Learn. 100:285).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from study.questions import ROPE

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


def _certain(mean: float, rope: float) -> tuple[float, float, float]:
    return float(mean > rope), float(abs(mean) <= rope), float(mean < -rope)
