"""The sparse gain against regressions and counts made otherwise."""

import itertools

import numpy as np
import pytest
from evidence_by_hand import evidence_of
from scipy import stats
from statsmodels.api import WLS, add_constant

from study.analysis.negative_controls import estimate_seed_null
from study.analysis.sparse_gain import estimate_sparse_gain, slope_weights

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
def evidence():
    return study_of(np.linspace(0, 0.8, LABELS))


@pytest.fixture(scope="module")
def found(evidence):
    return estimate_sparse_gain(evidence, evidence.contrasts[0])


def test_labels_make_the_fifths(found, evidence):
    gains = np.array([label.gain for label in found.labels])
    for fifth in found.fifths:
        members = [label.fifth == fifth.fifth for label in found.labels]
        assert fifth.difference.estimate == pytest.approx(gains[members].mean())
        assert fifth.labels == sum(members) == 4
        counts = evidence.record.data.dataset.positives[members]
        assert (fifth.fewest, fifth.most) == (counts.min(), counts.max())
        levels = fifth.auroc_arm - fifth.auroc_reference
        assert fifth.difference.estimate == pytest.approx(levels)
        assert fifth.headroom == pytest.approx(levels / (1 - fifth.auroc_reference))
        ap = np.array([label.ap_gain for label in found.labels])
        assert fifth.ap_gain == pytest.approx(ap[members].mean())
    assert [fifth.fifth for fifth in found.fifths] == list(range(5))


def test_q_values_are_benjamini_and_hochbergs(found):
    expected = stats.false_discovery_control([label.p for label in found.labels])
    np.testing.assert_allclose([label.q for label in found.labels], expected)


def test_the_slope_is_a_weighted_regression(found):
    x = np.log2([label.positives for label in found.labels])
    gains = [label.gain for label in found.labels]
    weights = [1 / label.se**2 for label in found.labels]
    fit = WLS(gains, add_constant(x), weights=weights).fit()
    assert found.slope.estimate == pytest.approx(fit.params[1])


def test_a_planted_trend_is_found_and_a_missing_one_is_not(found):
    assert found.slope.high < 0  # rare labels gain more
    none = study_of(np.zeros(LABELS))
    flat = estimate_sparse_gain(none, none.contrasts[0])
    assert flat.slope.low < 0 < flat.slope.high


def test_slope_weights_leave_out_labels_without_an_error():
    positives = np.array([8.0, 16.0, 32.0, 64.0])
    weights = slope_weights(positives, np.array([1.0, 1.0, 1.0, np.nan]))
    np.testing.assert_allclose(weights, [-0.5, 0, 0.5, 0])  # x = 3, 4, 5
    assert not slope_weights(positives, np.array([1.0, 1.0, 0.0, np.nan])).any()
    assert not slope_weights(np.full(4, 8.0), np.ones(4)).any()


def test_the_ribbon_is_the_mean_square_of_seed_against_seed(found, evidence):
    _, reference = evidence.pair(evidence.contrasts[0])
    values = reference.auroc[:, evidence.fifths == 4].mean(axis=1).reshape(3, -1)  # seeds x folds
    squares = [(a - b) ** 2 for a, b in itertools.combinations(values, 2)]
    se = np.sqrt(np.mean(squares) / values.size)
    assert found.null.fifth_high[4] == pytest.approx(stats.t.ppf(0.975, 8) * se)
    assert found.null.fifth_low[4] == -found.null.fifth_high[4]
    assert found.null.pairs == 3


def test_the_ribbon_holds_what_seeds_alone_do():
    inside = []
    for number in range(16):
        null = study_of(np.zeros(LABELS), number=number)
        gain = estimate_sparse_gain(null, null.contrasts[0])
        ends = zip(gain.fifths, gain.null.fifth_low, gain.null.fifth_high, strict=True)
        inside += [low <= fifth.difference.estimate <= high for fifth, low, high in ends]
        inside.append(gain.null.slope_low <= gain.slope.estimate <= gain.null.slope_high)
    assert np.mean(inside) >= 0.9  # of 96, where 95 % are expected


def test_choosing_on_the_test_folds_gains_most_where_labels_are_rare(found, evidence):
    _, reference = evidence.pair(evidence.contrasts[0])
    by_seed = reference.auroc.reshape(3, -1, LABELS)
    pairs = list(itertools.combinations(by_seed, 2))
    claimed = np.mean([np.maximum(a, b) - (a + b) / 2 for a, b in pairs], axis=(0, 1))
    expected = [claimed[evidence.fifths == k].mean() for k in range(5)]
    np.testing.assert_allclose(found.oracle, expected)
    assert found.oracle[4] > found.oracle[0] > 0


def test_one_seed_has_no_ribbon_and_no_oracle():
    single = study_of(np.zeros(LABELS), seeds=(0,))
    gain = estimate_sparse_gain(single, single.contrasts[0])
    assert (gain.null, gain.oracle) == (None, ())


def test_an_undefined_label_is_nan_everywhere_it_counts():
    evidence = study_of(np.zeros(LABELS), seeds=(0,))
    truth = evidence.record.data.dataset.labels.copy()
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


def test_seeds_are_paired_as_if_they_were_arms(evidence):
    arm = evidence.contrasts[0].reference
    levels = evidence.arms[arm.id].auroc.mean(axis=1).reshape(3, -1).mean(axis=1)
    expected = [a - b for a, b in itertools.combinations(levels, 2)]
    found = estimate_seed_null(evidence, arm)
    np.testing.assert_allclose([each.estimate for each in found], expected)
    assert {each.seed_from for each in found} == {"folds"}  # one seed a side
