"""The data-efficiency fraction: how much data an arm needs to reach a score.

No law is assumed: isotonic regression of the observed means, and interpolation in the logarithm
of the fraction (which is that of the number of molecules, up to a constant).

Shapes: k fractions, d draws.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from study.analysis.influence import Floats

Censored = Literal["", "above", "below"]
TAIL = 0.025


class Reach(NamedTuple):
    """The smallest fraction at which a curve reaches a score.

    Attributes
    ----------
    fraction : float
        The largest (smallest) of the curve where `censored`.
    censored : {'', 'above', 'below'}
        ``above``: not reached by the largest fraction; ``below``: reached by the smallest.
    """

    fraction: float
    censored: Censored


def reach(fractions: Floats, scores: Floats, target: float) -> Reach:
    """Return the smallest fraction at which the curve reaches the target.

    Parameters
    ----------
    fractions, scores : ndarray of float64, (k,)
        By rising fraction.
    target : float
    """
    from scipy.optimize import isotonic_regression  # a third of a second to import

    rising = isotonic_regression(scores).x
    if rising[0] >= target:
        return Reach(float(fractions[0]), "below")
    if rising[-1] < target:
        return Reach(float(fractions[-1]), "above")
    i = int(np.argmax(rising >= target))
    share = (target - rising[i - 1]) / (rising[i] - rising[i - 1])
    ends = np.log(fractions[i - 1 : i + 1])
    return Reach(float(np.exp(ends[0] + share * (ends[1] - ends[0]))), "")


def reach_interval(fractions: Floats, scores: Floats, targets: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of `reach` over draws of curve and target together.

    Parameters
    ----------
    fractions : ndarray of float64, (k,)
    scores : ndarray of float64, (d, k)
    targets : ndarray of float64, (d,)

    Returns
    -------
    low, high : float
        0 and infinity where the interval reaches beyond the fractions that were measured.
    """
    found = [reach(fractions, row, target) for row, target in zip(scores, targets, strict=True)]
    places = {"below": 0.0, "above": math.inf}
    values = np.array([places.get(each.censored, each.fraction) for each in found])
    # Draws as they are, not means of two: one of them may be infinite.
    low = np.quantile(values, TAIL, method="inverted_cdf")
    high = np.quantile(values, 1 - TAIL, method="inverted_cdf")
    return float(low), float(high)
