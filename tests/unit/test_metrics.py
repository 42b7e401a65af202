"""Ranking metrics against hand-counted pairs, scikit-learn and their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from study.metrics import (
    MetricError,
    auroc,
    average_precision,
    density_fifths,
    fifth_means,
    macro_mean,
)

SHAPES = st.tuples(st.integers(2, 30), st.integers(1, 5))


@st.composite
def tables(draw):
    """Draw labels and coarse scores: few distinct values, so that ties are common."""
    shape = draw(SHAPES)
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    scores = draw(hnp.arrays(np.int64, shape, elements=st.integers(-3, 3)))
    return labels, scores / 4


def counted_pairs(labels, scores):
    """Return the share of (positive, negative) pairs in the right order, as AUROC is defined."""
    high, low = scores[labels == 1], scores[labels == 0]
    wins = [(p > q) + 0.5 * (p == q) for p, q in itertools.product(high, low)]
    return np.mean(wins) if wins else np.nan


def test_auroc_of_pairs_counted_by_hand():
    labels = np.array([[1, 1], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.5], [0.5, 0.5], [0.4, 0.1], [0.1, 0.7]])
    # label 0: 3 of 4 pairs are right; label 1: one tie, one right, one wrong
    np.testing.assert_array_equal(auroc(labels, scores), [0.75, 0.5])


def test_average_precision_counted_by_hand():
    labels = np.array([[1], [0], [1], [1]])
    scores = np.array([[0.9], [0.8], [0.8], [0.1]])
    # retrieved: 1 of 1, then the tied pair together 2 of 3, then 3 of 4
    np.testing.assert_allclose(average_precision(labels, scores), [(1 + 2 / 3 + 3 / 4) / 3])


@given(tables())
def test_auroc_is_the_share_of_ordered_pairs(table):
    labels, scores = table
    expected = [counted_pairs(y, s) for y, s in zip(labels.T, scores.T, strict=True)]
    np.testing.assert_allclose(auroc(labels, scores), expected, atol=1e-12)


@given(tables())
def test_both_metrics_equal_scikit_learn_where_defined(table):
    labels, scores = table
    ours = auroc(labels, scores), average_precision(labels, scores)
    for column, (y, s) in enumerate(zip(labels.T, scores.T, strict=True)):
        if 0 < y.sum() < len(y):
            assert ours[0][column] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        if y.any():
            assert ours[1][column] == pytest.approx(average_precision_score(y, s), abs=1e-12)


def test_a_large_skewed_table_equals_scikit_learn():
    rng = np.random.default_rng(0)
    labels = (rng.random((1000, 40)) < np.geomspace(0.3, 0.01, 40)).astype(np.uint8)
    labels[0] = 1
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32).round(1)
    np.testing.assert_allclose(auroc(labels, scores), roc_auc_score(labels, scores, average=None))
    np.testing.assert_allclose(
        average_precision(labels, scores), average_precision_score(labels, scores, average=None)
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("digits", [0, 1, 8])
def test_ties_are_exact_in_every_precision(digits, dtype):
    """No score is rounded to another precision, and 0.0 ties with -0.0."""
    rng = np.random.default_rng(digits)
    labels = (rng.random((90, 12)) < rng.random(12)).astype(np.uint8)
    labels[0], labels[1] = 0, 1
    scores = rng.normal(size=labels.shape).round(digits).astype(dtype)
    scores[:6] = [[0.0] * 12, [-0.0] * 12, *[[1e-3] * 12] * 3, [-6e4] * 12]
    expected = roc_auc_score(labels, scores.astype(np.float64), average=None)
    assert auroc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_scores_that_differ_in_the_last_bit_do_not_tie():
    for dtype in (np.float32, np.float64):
        low, high = dtype(0.1), np.nextafter(dtype(0.1), dtype(1))
        scores = np.array([[low], [high], [-low], [-high]])
        assert auroc([[0], [1], [1], [0]], scores).tolist() == [0.75]


def test_integers_and_empty_tables_are_accepted():
    assert auroc([[0], [1], [1]], [[2**53], [2**53 + 2], [1]]).tolist() == [0.5]
    assert np.isnan(auroc(np.zeros((0, 3)), np.zeros((0, 3), np.float32))).all()


@given(tables())
def test_reversed_scores_reverse_auroc(table):
    labels, scores = table
    np.testing.assert_allclose(auroc(labels, -scores), 1 - auroc(labels, scores), atol=1e-12)


def test_permuted_labels_stay_at_one_half_within_the_standard_error():
    rng = np.random.default_rng(1)
    n, positives, l = 400, 100, 200  # noqa: E741 (the alphabet of the project)
    labels = np.zeros((n, l), dtype=np.uint8)
    labels[:positives] = 1
    values = auroc(labels, rng.normal(size=(n, l)))
    error = np.sqrt((n + 1) / (12 * positives * (n - positives)))
    assert abs(values.mean() - 0.5) < 4 * error / np.sqrt(l)
    assert values.std() == pytest.approx(error, rel=0.2)


def test_undefined_labels_are_nan_not_zero():
    labels = np.array([[0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.1, 0.1, 0.9], [0.2, 0.2, 0.1]])
    np.testing.assert_array_equal(auroc(labels, scores), [np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(average_precision(labels, scores), [np.nan, 1.0, 1.0])
    assert macro_mean(auroc(labels, scores)).undefined == 2


@pytest.mark.parametrize("metric", [auroc, average_precision])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_position(metric, bad):
    scores = np.zeros((3, 2))
    scores[2, 1] = bad
    with pytest.raises(MetricError, match=r"1 of 6 scores .* row 2, label column 1"):
        metric(np.eye(3, 2), scores)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros((3, 1)), r"one shape \(n, l\), not \(3, 1\) and \(3, 2\)"), ([[0.5, 1]], "0 or 1")],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    scores = np.zeros((3, 2)) if len(labels) == 3 else np.zeros((1, 2))
    with pytest.raises(MetricError, match=message):
        auroc(labels, scores)


def test_macro_mean_counts_undefined_labels():
    values = np.array([0.5, np.nan, 1.0])
    mean = macro_mean(values)
    assert np.isnan(mean.value)
    assert (mean.labels, mean.undefined) == (3, 1)
    assert macro_mean(values, np.array([True, False, True])) == (0.75, 2, 0)
    assert macro_mean([0.25, 0.75]) == (0.5, 2, 0)


def test_macro_mean_of_no_label_is_undefined_and_needs_a_mask():
    empty = macro_mean([0.5], np.array([False]))
    assert np.isnan(empty.value)
    assert (empty.labels, empty.undefined) == (0, 0)
    for among in ([0, 1], [True]):
        with pytest.raises(MetricError, match="mask of bool"):
            macro_mean([0.5, 0.7], np.array(among))


def test_fifths_are_equal_counts_with_dense_labels_first():
    np.testing.assert_array_equal(density_fifths([5, 9, 5, 5, 1, 7, 5]), [1, 0, 1, 2, 4, 0, 3])
    alternating = density_fifths(np.tile([3, 8], 100), k=4)
    np.testing.assert_array_equal(alternating[1::2], np.repeat([0, 1], 50))
    np.testing.assert_array_equal(alternating[::2], np.repeat([2, 3], 50))


@given(hnp.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 9)), st.integers(1, 7))
def test_fifths_are_ordered_by_density_and_balanced(positives, k):
    groups = density_fifths(positives, k)
    sizes = np.bincount(groups, minlength=k)
    assert sizes.max() - sizes.min() <= 1
    for a, b in itertools.combinations(range(len(positives)), 2):
        if groups[a] < groups[b]:
            assert positives[a] >= positives[b]


def test_fifth_means_are_nan_for_undefined_and_empty_groups():
    values, fifths = np.array([0.6, 0.8, np.nan, 0.4]), np.array([0, 0, 1, 1])
    np.testing.assert_allclose(fifth_means(values, fifths, k=3), [0.7, np.nan, np.nan])
    np.testing.assert_allclose(fifth_means(values[:2], fifths[:2], k=1), [0.7])
