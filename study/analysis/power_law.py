"""Power law of a learning curve, and the data efficiency that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from study.analysis.influence import Floats

Censored = Literal["", "above", "below"]
TAIL = 0.025


class FractionNeeded(NamedTuple):
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


def find_fraction_needed(fractions: Floats, scores: Floats, target: float) -> FractionNeeded:
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
        return FractionNeeded(float(fractions[0]), "below")
    if rising[-1] < target:
        return FractionNeeded(float(fractions[-1]), "above")
    i = int(np.argmax(rising >= target))
    share = (target - rising[i - 1]) / (rising[i] - rising[i - 1])
    ends = np.log(fractions[i - 1 : i + 1])
    return FractionNeeded(float(np.exp(ends[0] + share * (ends[1] - ends[0]))), "")


def fraction_needed_interval(
    fractions: Floats, scores: Floats, targets: Floats
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the fraction needed.

    Curve and target are drawn together.

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
    found = [
        find_fraction_needed(fractions, row, target)
        for row, target in zip(scores, targets, strict=True)
    ]
    places = {"below": 0.0, "above": math.inf}
    values = np.array([places.get(each.censored, each.fraction) for each in found])
    # Draws as they are, not means of two: one of them may be infinite.
    low = np.quantile(values, TAIL, method="inverted_cdf")
    high = np.quantile(values, 1 - TAIL, method="inverted_cdf")
    return float(low), float(high)


Form = Literal["a n^-b", "a n^-b + c"]
TWO: Form = "a n^-b"
THREE: Form = "a n^-b + c"
POINTS = {TWO: 3, THREE: 4}
"""Points that a form needs: one more than its parameters, so that one can be held out."""
STEEPEST = 2.0
"""Upper bound of b."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """Error as a function of the number of training molecules.

    Attributes
    ----------
    a, b, c : float
        c is 0 in the form without it.
    form : {'a n^-b', 'a n^-b + c'}
    b_low, b_high, c_low, c_high : float
        95 % intervals: percentiles of refits to draws of the whole curve. NaN where not to be
        had; wide as a rule.
    holdout_error : float
        ``|predicted - observed|`` at the last point, by a fit without it; NaN if that failed.
    """

    a: float
    b: float
    c: float
    form: Form
    b_low: float
    b_high: float
    c_low: float
    c_high: float
    holdout_error: float

    def error(self, molecules: Floats) -> Floats:
        """Return 1 - AUROC that the law expects of these numbers of molecules."""
        return _power(molecules, self.a, self.b, self.c)


class PowerLawFit(NamedTuple):
    """Parameters of a fitted power law."""

    a: float
    b: float
    c: float


def fit_power_law(
    molecules: Floats, errors: Floats, ses: Floats, form: Form, draws: Floats
) -> PowerLaw | None:
    """Fit one form to the observed means of a curve.

    Parameters
    ----------
    molecules, errors : ndarray of float64, (k,)
        Training molecules, rising, and 1 - AUROC.
    ses : ndarray of float64, (k,)
        Standard errors: points weigh 1 / SE^2. Points weigh the same if one is not positive.
    form : {'a n^-b', 'a n^-b + c'}
    draws : ndarray of float64, (d, k)
        Draws of `errors` for the intervals; may be empty.

    Returns
    -------
    PowerLaw or None
        None with too few points (`POINTS`), or if the fit does not converge.
    """
    if len(molecules) < POINTS[form]:
        return None
    fitted = fit_parameters(molecules, errors, ses, form)
    if fitted is None:
        return None
    refits = [fit_parameters(molecules, row, ses, form, start=fitted) for row in draws]
    known = [refit for refit in refits if refit is not None]
    b_low, b_high = _interval([refit.b for refit in known], len(draws))
    c_low, c_high = _interval([refit.c for refit in known], len(draws) if form == THREE else 0)
    missed = _holdout(molecules, errors, ses, form)
    return PowerLaw(*fitted, form, b_low, b_high, c_low, c_high, missed)


def fit_parameters(
    molecules: Floats, errors: Floats, ses: Floats, form: Form, start: PowerLawFit | None = None
) -> PowerLawFit | None:
    """Fit by weighted least squares with b in (0, 2] and c in [0, 1]; None if it fails.

    The scale is fitted at the geometric mean of the molecules, where it hardly depends on b, and
    turned into a afterwards.
    """
    from scipy.optimize import curve_fit  # a third of a second to import

    center = float(np.exp(np.log(molecules).mean()))
    x, two = np.log(molecules / center), form == TWO
    begin = _start(x, errors) if start is None else (start.a * center**-start.b, *start[1:])
    high = (np.inf, STEEPEST, 1.0)
    usable = bool(np.all(np.isfinite(ses) & (ses > 0)))
    size = 2 if two else 3
    first = np.clip(begin[:size], [1e-9, 1e-6, 1e-9][:size], [np.inf, STEEPEST, 0.999][:size])
    try:
        found, _ = curve_fit(
            _two if two else _three,
            x,
            errors,
            p0=first,
            sigma=ses if usable else np.ones(len(x)),
            absolute_sigma=True,
            bounds=(np.zeros(size), high[:size]),
            jac=_two_slopes if two else _three_slopes,
        )
    except RuntimeError:  # out of steps
        return None
    scale, b, c = (*found, 0.0)[:3]
    return PowerLawFit(float(scale * center**b), float(b), float(c))


def _holdout(molecules: Floats, errors: Floats, ses: Floats, form: Form) -> float:
    """Distance of the last point from where the others expect it."""
    found = fit_parameters(molecules[:-1], errors[:-1], ses[:-1], form)
    if found is None:
        return math.nan
    return abs(float(_power(molecules[-1:], *found)[0] - errors[-1]))


def _power(molecules: Floats, a: float, b: float, c: float) -> Floats:
    return np.asarray(a * molecules**-b + c, dtype=np.float64)


def _start(x: Floats, errors: Floats) -> tuple[float, float, float]:
    """Straight line through the logarithms: scale, exponent, no floor."""
    slope, height = np.polyfit(x, np.log(np.maximum(errors, 1e-6)), 1)
    return float(np.exp(height)), float(-slope), 0.0


def _two(x: Floats, scale: float, b: float) -> Floats:
    return np.asarray(scale * np.exp(-b * x))


def _three(x: Floats, scale: float, b: float, c: float) -> Floats:
    return _two(x, scale, b) + c


def _two_slopes(x: Floats, scale: float, b: float) -> Floats:
    fall = np.exp(-b * x)
    return np.stack([fall, -scale * x * fall], axis=1)


def _three_slopes(x: Floats, scale: float, b: float, _c: float) -> Floats:
    return np.column_stack([_two_slopes(x, scale, b), np.ones(len(x))])


def _interval(values: list[float], wanted: int) -> tuple[float, float]:
    """95 % percentile interval; NaN if fewer than half of the refits are there."""
    if not values or len(values) < wanted / 2 or not wanted:
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
