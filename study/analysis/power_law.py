"""Power laws of learning curves, and data-efficiency fractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from study.analysis.influence import Floats

Censored = Literal["", "above", "below"]
TAIL = 0.025


class FractionNeeded(NamedTuple):
    """Smallest fraction at which a learning curve reaches a score.

    Attributes
    ----------
    fraction : float
        If `censored`, the largest (smallest) fraction of the curve.
    censored : {'', 'above', 'below'}
        ``above``: the largest fraction does not reach it; ``below``: the smallest already does.
    """

    fraction: float
    censored: Censored


def find_fraction_needed(fractions: Floats, scores: Floats, target: float) -> FractionNeeded:
    """Return the smallest fraction at which the isotonic fit of the curve reaches the target.

    Parameters
    ----------
    fractions, scores : ndarray of float64, (k,)
        By ascending fraction.
    target : float
    """
    from scipy.optimize import isotonic_regression  # takes a third of a second to import

    isotonic = isotonic_regression(scores).x
    if isotonic[0] >= target:
        return FractionNeeded(float(fractions[0]), "below")
    if isotonic[-1] < target:
        return FractionNeeded(float(fractions[-1]), "above")
    i = int(np.argmax(isotonic >= target))
    share = (target - isotonic[i - 1]) / (isotonic[i] - isotonic[i - 1])
    ends = np.log(fractions[i - 1 : i + 1])
    return FractionNeeded(float(np.exp(ends[0] + share * (ends[1] - ends[0]))), "")


def estimate_fraction_interval(
    fractions: Floats, scores: Floats, targets: Floats
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the fraction needed.

    Curve and target come from joint draws.

    Parameters
    ----------
    fractions : ndarray of float64, (k,)
    scores : ndarray of float64, (d, k)
    targets : ndarray of float64, (d,)

    Returns
    -------
    low, high : float
        0 or infinity where the interval extends beyond the measured fractions.
    """
    needed = [
        find_fraction_needed(fractions, row, target)
        for row, target in zip(scores, targets, strict=True)
    ]
    limits = {"below": 0.0, "above": math.inf}
    values = np.array([limits.get(draw.censored, draw.fraction) for draw in needed])
    # No interpolation between two draws: one of them may be infinite.
    low = np.quantile(values, TAIL, method="inverted_cdf")
    high = np.quantile(values, 1 - TAIL, method="inverted_cdf")
    return float(low), float(high)


Form = Literal["a n^-b", "a n^-b + c"]
TWO: Form = "a n^-b"
THREE: Form = "a n^-b + c"
POINTS = {TWO: 3, THREE: 4}
"""Points that a form needs: one more than its parameters, so that one point can be held out."""
STEEPEST = 2.0
"""Upper bound of b."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """Power law of the error (1 - AUROC) in the number of training molecules.

    Attributes
    ----------
    a, b, c : float
        c is 0 for the form without it.
    form : {'a n^-b', 'a n^-b + c'}
    b_low, b_high, c_low, c_high : float
        95 % intervals: percentiles of refits to draws of the whole curve; NaN if too few refits
        converge. They are usually wide.
    holdout_error : float
        ``|predicted - observed|`` at the last point for a fit without it; NaN if that failed.
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
        """Return the predicted 1 - AUROC for these numbers of molecules."""
        return _power(molecules, self.a, self.b, self.c)


class PowerLawFit(NamedTuple):
    """Parameters of a fitted power law."""

    a: float
    b: float
    c: float


def fit_power_law(
    molecules: Floats, errors: Floats, ses: Floats, form: Form, draws: Floats
) -> PowerLaw | None:
    """Fit one form of the power law to the mean errors of a curve.

    Parameters
    ----------
    molecules, errors : ndarray of float64, (k,)
        Training molecules, ascending, and 1 - AUROC.
    ses : ndarray of float64, (k,)
        Standard errors. Points are weighted by 1 / SE^2, or equally if a SE is not positive.
    form : {'a n^-b', 'a n^-b + c'}
    draws : ndarray of float64, (d, k)
        Draws of `errors` for the intervals; may have no rows.

    Returns
    -------
    PowerLaw or None
        None with fewer points than `POINTS`, or if the fit does not converge.
    """
    if len(molecules) < POINTS[form]:
        return None
    fitted = fit_parameters(molecules, errors, ses, form)
    if fitted is None:
        return None
    refits = [fit_parameters(molecules, row, ses, form, start=fitted) for row in draws]
    converged = [refit for refit in refits if refit is not None]
    b_low, b_high = _compute_percentile_interval([refit.b for refit in converged], len(draws))
    c_low, c_high = _compute_percentile_interval(
        [refit.c for refit in converged], len(draws) if form == THREE else 0
    )
    holdout_error = _compute_holdout_error(molecules, errors, ses, form)
    return PowerLaw(*fitted, form, b_low, b_high, c_low, c_high, holdout_error)


def fit_parameters(
    molecules: Floats, errors: Floats, ses: Floats, form: Form, start: PowerLawFit | None = None
) -> PowerLawFit | None:
    """Fit by weighted least squares with b in (0, 2] and c in [0, 1]; None if it fails.

    Instead of a, the error at the geometric mean of the molecules is fitted, because it hardly
    depends on b; it is converted to a afterwards.
    """
    from scipy.optimize import curve_fit  # takes a third of a second to import

    center = float(np.exp(np.log(molecules).mean()))
    x, without_floor = np.log(molecules / center), form == TWO
    initial = (
        _guess_initial_values(x, errors)
        if start is None
        else (start.a * center**-start.b, *start[1:])
    )
    high = (np.inf, STEEPEST, 1.0)
    usable = bool(np.all(np.isfinite(ses) & (ses > 0)))
    size = 2 if without_floor else 3
    clipped = np.clip(initial[:size], [1e-9, 1e-6, 1e-9][:size], [np.inf, STEEPEST, 0.999][:size])
    try:
        fitted, _ = curve_fit(
            _law_without_floor if without_floor else _law_with_floor,
            x,
            errors,
            p0=clipped,
            sigma=ses if usable else np.ones(len(x)),
            absolute_sigma=True,
            bounds=(np.zeros(size), high[:size]),
            jac=_jacobian_without_floor if without_floor else _jacobian_with_floor,
        )
    except RuntimeError:  # the maximum number of steps was reached
        return None
    scale, b, c = (*fitted, 0.0)[:3]
    return PowerLawFit(float(scale * center**b), float(b), float(c))


def _compute_holdout_error(molecules: Floats, errors: Floats, ses: Floats, form: Form) -> float:
    """Return the distance of the last point from its prediction by a fit to the other points."""
    fit = fit_parameters(molecules[:-1], errors[:-1], ses[:-1], form)
    if fit is None:
        return math.nan
    return abs(float(_power(molecules[-1:], *fit)[0] - errors[-1]))


def _power(molecules: Floats, a: float, b: float, c: float) -> Floats:
    return np.asarray(a * molecules**-b + c, dtype=np.float64)


def _guess_initial_values(x: Floats, errors: Floats) -> tuple[float, float, float]:
    """Return starting values (scale, exponent, floor 0) from a line through the logarithms."""
    slope, intercept = np.polyfit(x, np.log(np.maximum(errors, 1e-6)), 1)
    return float(np.exp(intercept)), float(-slope), 0.0


def _law_without_floor(x: Floats, scale: float, b: float) -> Floats:
    return np.asarray(scale * np.exp(-b * x))


def _law_with_floor(x: Floats, scale: float, b: float, c: float) -> Floats:
    return _law_without_floor(x, scale, b) + c


def _jacobian_without_floor(x: Floats, scale: float, b: float) -> Floats:
    decay = np.exp(-b * x)
    return np.stack([decay, -scale * x * decay], axis=1)


def _jacobian_with_floor(x: Floats, scale: float, b: float, _c: float) -> Floats:
    return np.column_stack([_jacobian_without_floor(x, scale, b), np.ones(len(x))])


def _compute_percentile_interval(values: list[float], refits: int) -> tuple[float, float]:
    """Return the 95 % percentile interval; NaN if fewer than half of the refits converged."""
    if not values or len(values) < refits / 2 or not refits:
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
