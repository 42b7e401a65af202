"""Power-law fits against known laws and a grid search."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.analysis.power_law import THREE, TWO, fit_parameters, fit_power_law

MOLECULES = np.array([200.0, 400, 1000, 2000, 3000, 4000])
EQUAL = np.full(6, 0.004)
NONE = np.empty((0, 6))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 3), st.floats(0.1, 0.8), st.floats(0.01, 0.2))
def test_known_parameters_are_recovered(a, b, c):
    two = fit_power_law(MOLECULES, a * MOLECULES**-b, EQUAL, TWO, NONE)
    assert (two.a, two.b, two.c) == pytest.approx((a, b, 0), rel=1e-4)
    three = fit_power_law(MOLECULES, a * MOLECULES**-b + c, EQUAL, THREE, NONE)
    assert (three.a, three.b, three.c) == pytest.approx((a, b, c), rel=1e-2)
    assert [two.holdout_error, three.holdout_error] == pytest.approx([0, 0], abs=1e-4)
    assert three.error(MOLECULES) == pytest.approx(a * MOLECULES**-b + c, rel=1e-4)


def test_weighted_fit_agrees_with_grid_search():
    rng = np.random.default_rng(0)
    errors = 2 * MOLECULES**-0.3 + 0.05 + rng.normal(0, 0.01, 6)
    ses = np.array([0.02, 0.01, 0.005, 0.004, 0.004, 0.003])

    def misfit(b):
        """Given b, scale and floor are linear."""
        design = np.column_stack([MOLECULES**-b, np.ones(6)]) / ses[:, None]
        solution, *_ = np.linalg.lstsq(design, errors / ses, rcond=None)
        return ((design @ solution - errors / ses) ** 2).sum(), solution[1]

    free = [b for b in np.linspace(0.01, 1, 2000) if misfit(b)[1] >= 0]
    best = min(free, key=lambda b: misfit(b)[0])
    assert fit_parameters(MOLECULES, errors, ses, THREE).b == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("form", [TWO, THREE])
def test_holdout_error_is_distance_of_last_point(form):
    errors = 2 * MOLECULES**-0.4
    errors[-1] += 0.03
    assert fit_power_law(MOLECULES, errors, EQUAL, form, NONE).holdout_error == pytest.approx(0.03)


def test_fit_needs_more_points_than_parameters():
    few = MOLECULES[:3]
    assert fit_power_law(few[:2], few[:2] ** -0.3, EQUAL[:2], TWO, NONE[:, :2]) is None
    assert fit_power_law(few, few**-0.3, EQUAL[:3], TWO, NONE[:, :3]).b == pytest.approx(0.3)
    assert fit_power_law(few, few**-0.3, EQUAL[:3], THREE, NONE[:, :3]) is None


def test_exponent_is_bounded():
    rising = fit_power_law(MOLECULES, 0.1 + 1e-5 * MOLECULES, EQUAL, THREE, NONE)
    assert rising.b == pytest.approx(0, abs=1e-3)
    assert fit_parameters(MOLECULES, 1e9 * MOLECULES**-4.0, EQUAL, TWO).b == pytest.approx(2)


def test_intervals_are_percentiles_of_refits():
    exponents = np.linspace(0.2, 0.6, 41)
    draws = np.array([2 * MOLECULES**-b + 0.01 for b in exponents])
    law = fit_power_law(MOLECULES, draws[20], EQUAL, THREE, draws)
    assert (law.b_low, law.b_high) == pytest.approx(
        np.quantile(exponents, [0.025, 0.975]), abs=2e-3
    )
    assert law.c_low == pytest.approx(0.01, abs=2e-3)
    two = fit_power_law(MOLECULES, draws[20], EQUAL, TWO, draws)
    assert math.isnan(two.c_low)
    assert math.isnan(fit_power_law(MOLECULES, draws[20], EQUAL, TWO, NONE).b_low)
