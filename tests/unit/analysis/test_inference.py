"""Differences and their intervals against formulas written out by hand."""

import math

import numpy as np
import pytest
from evidence_by_hand import evidence_of
from scipy import stats

from study.analysis.paired import (
    build_macro_weights,
    compute_corrected_t,
    estimate_difference,
    estimate_seed_error,
    estimate_seed_term,
)
from study.errors import StudyError


def random_study(seeds=(0, 1), n=400, labels=10):
    rng = np.random.default_rng(5)
    truth = (rng.random((n, labels)) < np.geomspace(0.4, 0.05, labels)).astype(np.uint8)
    shared = rng.normal(size=truth.shape)

    def score(arm, seed):
        draws = np.random.default_rng(10 * seed + arm)
        return truth * (1 + arm / 4) + shared + draws.normal(size=truth.shape) / 2

    return evidence_of(truth, score, seeds)


def test_corrected_t_by_hand():
    values = [0.01, 0.03, 0.02, 0.00, 0.04]
    result = compute_corrected_t(values, 5)
    se = np.std(values, ddof=1) * math.sqrt(1 / 5 + 1 / 4)  # sqrt(0.00025) * sqrt(0.45)
    assert result.se == pytest.approx(math.sqrt(0.0001125)) == pytest.approx(se)
    assert (result.mean, result.df) == (pytest.approx(0.02), 4)
    assert result.high == pytest.approx(0.02 + 2.7764451 * se)
    assert result.p == pytest.approx(2 * (1 - stats.t.cdf(0.02 / se, 4)))


def test_corrected_t_without_correction_equals_scipy():
    values = np.random.default_rng(0).normal(0.1, 1, 30)
    result = compute_corrected_t(values, 10**9)  # the shared training rows count for nothing
    expected = stats.ttest_1samp(values, 0)
    assert result.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose((result.low, result.high), expected.confidence_interval(0.95))


def test_corrected_t_gives_equivalence_probabilities():
    result = compute_corrected_t([0.01, 0.03, 0.02, 0.00, 0.04], 5, rope=0.005)
    t = stats.t(4, 0.02, result.se)
    assert (result.better, result.worse) == (
        pytest.approx(t.sf(0.005)),
        pytest.approx(t.cdf(-0.005)),
    )
    assert result.better + result.equivalent + result.worse == pytest.approx(1)


def test_one_fold_has_only_a_mean():
    result = compute_corrected_t([0.25], 5)
    assert (result.mean, result.df) == (0.25, 0)
    assert all(math.isnan(v) for v in (result.se, result.low, result.high, result.p, result.better))


def test_equal_folds_give_certainty():
    result = compute_corrected_t([0.25, 0.25], 2)
    assert (result.low, result.high, result.p, result.better) == (0.25, 0.25, 0, 1)


def test_seed_term_is_variance_within_folds():
    keys = [(seed, 0, fold) for seed in (0, 1) for fold in (0, 1)]
    values = np.array([0.1, 0.5, 0.3, 0.9])  # folds (0.1, 0.3) and (0.5, 0.9)
    expected = math.sqrt((0.02 + 0.08) / 2 / 4)
    assert estimate_seed_error(values, keys) == pytest.approx(expected)
    term = estimate_seed_term(values, keys, molecules=9.0)
    assert (term.se, term.df, term.source) == (pytest.approx(expected), 2, "seeds")


def test_seed_term_of_one_seed_uses_folds():
    values, keys = np.array([0.0, 0.2, 0.4]), [(0, 0, fold) for fold in range(3)]
    term = estimate_seed_term(values, keys, molecules=0.1)
    # the folds have variance 0.04, molecules account for 3 * 0.01 of it, three fits for the rest
    assert (term.se, term.df, term.source) == (pytest.approx(math.sqrt(0.01 / 3)), 2, "folds")
    assert estimate_seed_term(values, keys, molecules=0.2).se == 0
    assert math.isnan(estimate_seed_term(values[:1], keys[:1], 0.1).se)


def test_seed_term_pools_repeats():
    keys = [(0, repeat, fold) for repeat in (0, 1) for fold in (0, 1)]
    values = np.array([0.0, 0.2, 1.0, 1.4])  # variances 0.02 and 0.08 inside the repeats
    term = estimate_seed_term(values, keys, molecules=0.1)
    assert term.se == pytest.approx(math.sqrt((0.05 / 2 - 0.01) / 2))
    assert term.df == 2


def test_standard_error_adds_molecules_and_seeds():
    analysis = random_study()
    arm, reference = analysis.pair(analysis.contrasts[0])
    weights = build_macro_weights(10)
    result = estimate_difference(arm, reference, analysis.groups, weights)
    values = (arm.auroc - reference.auroc).mean(axis=1)
    pulls = (arm.influence - reference.influence).astype(np.float64).mean(axis=1)
    assert result.estimate == pytest.approx(values.mean())
    assert result.se_influence == pytest.approx(math.sqrt((pulls**2).sum()), rel=1e-5)
    assert result.se == pytest.approx(math.hypot(result.se_influence, result.se_seed))
    df = (len(values) - 4) * (result.se / result.se_seed) ** 4  # 4 folds, two seeds each
    assert result.df == pytest.approx(df)
    assert result.high == pytest.approx(result.estimate + stats.t.ppf(0.975, df) * result.se)
    assert result.p == pytest.approx(2 * stats.t.sf(abs(result.estimate) / result.se, df))
    assert result.folds == pytest.approx(values.reshape(2, 4).mean(axis=0))


def test_one_seed_uses_the_wider_interval():
    analysis = random_study(seeds=(0,))
    arm, reference = analysis.pair(analysis.contrasts[0])
    values = arm.auroc - reference.auroc
    differences = [
        estimate_difference(arm, reference, analysis.groups, weights) for weights in np.eye(10)
    ]
    wider = 0
    for label, difference in enumerate(differences):
        plain = stats.ttest_1samp(values[:, label], 0)
        low, high = plain.confidence_interval(0.95)
        reach = stats.norm.ppf(0.975) * difference.se_influence
        assert difference.high - difference.low == pytest.approx(max(high - low, 2 * reach))
        if high - low > 2 * reach:
            wider += 1
            assert difference.p == pytest.approx(plain.pvalue)
    assert 0 < wider < 10


def test_arms_with_different_trials_are_rejected():
    analysis = random_study()
    arm, _ = analysis.pair(analysis.contrasts[0])
    other = random_study(seeds=(0,)).pair(analysis.contrasts[0])[1]
    with pytest.raises(StudyError, match="different trials"):
        estimate_difference(arm, other, analysis.groups, build_macro_weights(10))
