"""Influence of molecules against DeLong's formula in two loops, and against the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from study.analysis.influence import compute_influence, compute_pooled_auroc
from study.analysis.paired import compute_standard_error
from study.metrics import auroc, average_precision


@st.composite
def tables(draw):
    """Labels and coarse scores: ties are common, and labels without positives occur."""
    shape = draw(st.tuples(st.integers(2, 25), st.integers(1, 4)))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    scores = draw(hnp.arrays(np.int64, shape, elements=st.integers(-3, 3)))
    return labels, (scores / 4).astype(np.float32)


def delong_variance(labels, scores):
    """DeLong et al. 1988, equations 4 to 6, by counting every pair."""
    high, low = scores[labels == 1], scores[labels == 0]
    psi = np.array([[(x > y) + (x == y) / 2 for y in low] for x in high])
    parts = [np.var(psi.mean(axis=axis), ddof=1) / psi.shape[1 - axis] for axis in (0, 1)]
    return sum(parts)


@settings(deadline=None)
@given(tables())
def test_influence_agrees_with_metrics(table):
    result = compute_influence(*table)
    np.testing.assert_allclose(result.auroc, auroc(*table), atol=1e-12)
    np.testing.assert_allclose(result.average_precision, average_precision(*table), atol=1e-12)
    labels, scores = (part.ravel() for part in table)
    wins = [(x > y) + (x == y) / 2 for x in scores[labels == 1] for y in scores[labels == 0]]
    pooled = np.mean(wins) if wins else np.nan
    np.testing.assert_allclose(compute_pooled_auroc(*table), pooled, atol=1e-12)


@settings(deadline=None)
@given(tables())
def test_squared_influence_is_delong_variance(table):
    labels, scores = table
    result = compute_influence(labels, scores).influence
    for column, truth in enumerate(labels.T):
        if 2 <= truth.sum() <= len(truth) - 2:
            expected = delong_variance(truth, scores[:, column])
            np.testing.assert_allclose((result[:, column] ** 2).sum(), expected, atol=1e-12)
            np.testing.assert_allclose(result[:, column].sum(), 0, atol=1e-12)


def test_undefined_label_has_no_influence():
    labels = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 1]], dtype=np.uint8)
    result = compute_influence(
        labels, np.array([[0.1] * 3, [0.5] * 3, [0.3] * 3], dtype=np.float32)
    )
    assert np.isnan(result.auroc).tolist() == [True, True, False]
    assert np.isnan(result.influence).all(axis=0).tolist() == [True, True, False]


def test_duplicates_in_a_group_count_once():
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 6)) < 0.15).astype(np.uint8)
    scores = rng.random((40, 6)).astype(np.float32)
    alone = compute_influence(labels, scores).influence
    order = rng.permutation(80)  # the groups need not be sorted
    groups = np.arange(40).repeat(2)[order]
    twins = compute_influence(labels[groups], scores[groups], groups).influence
    for column in range(6):
        expected = compute_standard_error(alone[:, column], np.arange(40))
        assert compute_standard_error(twins[:, column], groups) == pytest.approx(expected)


def two_models(n, labels, rng):
    """Labels that go together, and two models that err together."""
    common = rng.normal(size=(n, 1))
    hidden = common + rng.normal(size=(n, labels))
    truth = (hidden > np.quantile(hidden, 0.85, axis=0)).astype(np.uint8)
    shared = hidden + rng.normal(size=(n, labels)) + rng.normal(size=(n, 1))
    scores = [shared + width * rng.normal(size=(n, labels)) for width in (0.7, 1.0)]
    return truth, [values.astype(np.float32) for values in scores]


@pytest.mark.parametrize("twins", [1, 2])
def test_standard_error_agrees_with_bootstrap(twins):
    rng = np.random.default_rng(3)
    truth, scores = two_models(1200 // twins, 8, rng)
    truth = truth.repeat(twins, axis=0)
    scores = [values.repeat(twins, axis=0) for values in scores]  # molecules of a group are alike
    groups = np.arange(1200 // twins).repeat(twins)
    pulls = [compute_influence(truth, values).influence.mean(axis=1) for values in scores]
    claimed = compute_standard_error(pulls[0] - pulls[1], groups)
    drawn = []
    for _ in range(500):
        chosen = rng.integers(0, len(groups) // twins, len(groups) // twins)
        rows = (chosen[:, None] * twins + np.arange(twins)).ravel()
        levels = [auroc(truth[rows], values[rows]).mean() for values in scores]
        drawn.append(levels[0] - levels[1])
    assert claimed == pytest.approx(np.std(drawn, ddof=1), rel=0.05)
