"""The sparse gain against independent regressions and counts."""

import itertools

import numpy as np
import pytest
from evidence_by_hand import evidence_of
from scipy import stats
from statsmodels.api import WLS, add_constant

from study.analysis.negative_controls import estimate_seed_null
from study.analysis.sparse_gain import compute_slope_weights, estimate_sparse_gain

LABELS, MOLECULES = 20, 1000


def labels_of(rng):
    """Labels from 40 % down to 2 % positives."""
    return (rng.random((MOLECULES, LABELS)) < np.geomspace(0.4, 0.02, LABELS)).astype(np.uint8)


def study_of(gain, seeds=(0, 1, 2), number=0):
    """An arm that lifts positives of label j by gain[j] more than the reference does."""
    rng = np.random.default_rng(number)
    truth = labels_of(rng)
    shared = rng.normal(size=truth.shape)

    def score(arm, seed):
        draws = np.random.default_rng([number, arm, seed])
        return truth * (1 + arm * gain) + shared + draws.normal(size=truth.shape) / 2

    return evidence_of(truth, score, seeds)


@pytest.fixture(scope="module")
def analysis():
    return study_of(np.linspace(0, 0.8, LABELS))


@pytest.fixture(scope="module")
def sparse_gain(analysis):
    return estimate_sparse_gain(analysis, analysis.contrasts[0])


def test_fifths_average_their_labels(sparse_gain, analysis):
    gains = np.array([label.gain for label in sparse_gain.labels])
    for fifth in sparse_gain.fifths:
        members = [label.fifth == fifth.fifth for label in sparse_gain.labels]
        assert fifth.difference.estimate == pytest.approx(gains[members].mean())
        assert fifth.labels == sum(members) == 4
        counts = analysis.results.data.dataset.positives[members]
        assert (fifth.fewest, fifth.most) == (counts.min(), counts.max())
        levels = fifth.auroc_arm - fifth.auroc_reference
        assert fifth.difference.estimate == pytest.approx(levels)
        assert fifth.headroom == pytest.approx(levels / (1 - fifth.auroc_reference))
        ap = np.array([label.ap_gain for label in sparse_gain.labels])
        assert fifth.ap_gain == pytest.approx(ap[members].mean())
    assert [fifth.fifth for fifth in sparse_gain.fifths] == list(range(5))


def test_q_values_agree_with_scipy(sparse_gain):
    expected = stats.false_discovery_control([label.p for label in sparse_gain.labels])
    np.testing.assert_allclose([label.q for label in sparse_gain.labels], expected)


def test_slope_is_a_weighted_regression(sparse_gain):
    x = np.log2([label.positives for label in sparse_gain.labels])
    gains = [label.gain for label in sparse_gain.labels]
    weights = [1 / label.se**2 for label in sparse_gain.labels]
    fit = WLS(gains, add_constant(x), weights=weights).fit()
    assert sparse_gain.slope.estimate == pytest.approx(fit.params[1])


def test_only_a_planted_trend_is_found(sparse_gain):
    assert sparse_gain.slope.high < 0  # rare labels gain more
    none = study_of(np.zeros(LABELS))
    flat = estimate_sparse_gain(none, none.contrasts[0])
    assert flat.slope.low < 0 < flat.slope.high


def test_slope_ignores_labels_without_standard_error():
    positives = np.array([8.0, 16.0, 32.0, 64.0])
    weights = compute_slope_weights(positives, np.array([1.0, 1.0, 1.0, np.nan]))
    np.testing.assert_allclose(weights, [-0.5, 0, 0.5, 0])  # x = 3, 4, 5
    assert not compute_slope_weights(positives, np.array([1.0, 1.0, 0.0, np.nan])).any()
    assert not compute_slope_weights(np.full(4, 8.0), np.ones(4)).any()


def test_ribbon_is_mean_square_between_seeds(sparse_gain, analysis):
    _, reference = analysis.pair(analysis.contrasts[0])
    values = reference.auroc[:, analysis.fifths == 4].mean(axis=1).reshape(3, -1)  # seeds x folds
    squares = [(a - b) ** 2 for a, b in itertools.combinations(values, 2)]
    se = np.sqrt(np.mean(squares) / values.size)
    assert sparse_gain.null.fifth_high[4] == pytest.approx(stats.t.ppf(0.975, 8) * se)
    assert sparse_gain.null.fifth_low[4] == -sparse_gain.null.fifth_high[4]
    assert sparse_gain.null.pairs == 3


def test_ribbon_covers_seed_noise():
    inside = []
    for number in range(16):
        null = study_of(np.zeros(LABELS), number=number)
        gain = estimate_sparse_gain(null, null.contrasts[0])
        ends = zip(gain.fifths, gain.null.fifth_low, gain.null.fifth_high, strict=True)
        inside += [low <= fifth.difference.estimate <= high for fifth, low, high in ends]
        inside.append(gain.null.slope_low <= gain.slope.estimate <= gain.null.slope_high)
    assert np.mean(inside) >= 0.9  # of 96, where 95 % are expected


def test_oracle_gain_is_largest_for_rare_labels(sparse_gain, analysis):
    _, reference = analysis.pair(analysis.contrasts[0])
    by_seed = reference.auroc.reshape(3, -1, LABELS)
    pairs = list(itertools.combinations(by_seed, 2))
    claimed = np.mean([np.maximum(a, b) - (a + b) / 2 for a, b in pairs], axis=(0, 1))
    expected = [claimed[analysis.fifths == k].mean() for k in range(5)]
    np.testing.assert_allclose(sparse_gain.oracle, expected)
    assert sparse_gain.oracle[4] > sparse_gain.oracle[0] > 0


def test_one_seed_has_no_ribbon_and_no_oracle():
    single = study_of(np.zeros(LABELS), seeds=(0,))
    gain = estimate_sparse_gain(single, single.contrasts[0])
    assert (gain.null, gain.oracle) == (None, ())


def test_undefined_label_is_nan_in_all_estimates():
    analysis = study_of(np.zeros(LABELS), seeds=(0,))
    truth = analysis.results.data.dataset.labels.copy()
    truth[:, 19] = 0
    truth[7, 19] = 1  # defined in one fold of four
    rng = np.random.default_rng(0)
    rare = evidence_of(truth, lambda *_: truth + rng.normal(size=truth.shape), (0,))
    gain = estimate_sparse_gain(rare, rare.contrasts[0])
    last = gain.labels[19]
    assert np.isnan([last.gain, last.se, last.p, last.q, last.headroom]).all()
    assert np.isnan(gain.fifths[4].difference.estimate)
    assert np.isfinite([label.q for label in gain.labels[:19]]).all()
    assert np.isfinite(gain.slope.estimate)


def test_seed_null_pairs_all_seeds(analysis):
    arm = analysis.contrasts[0].reference
    levels = analysis.arms[arm.id].auroc.mean(axis=1).reshape(3, -1).mean(axis=1)
    expected = [a - b for a, b in itertools.combinations(levels, 2)]
    differences = estimate_seed_null(analysis, arm)
    np.testing.assert_allclose([difference.estimate for difference in differences], expected)
    assert {difference.seed_from for difference in differences} == {"folds"}  # one seed a side
