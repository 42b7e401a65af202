"""Differences and their intervals against formulas written out by hand."""

import math

import numpy as np
import pytest
from evidence_by_hand import evidence_of
from scipy import stats

from study.analysis.paired import (
    corrected_t,
    estimate_difference,
    estimate_seed_term,
    macro_weights,
    seed_error,
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
    found = corrected_t(values, 5)
    se = np.std(values, ddof=1) * math.sqrt(1 / 5 + 1 / 4)  # sqrt(0.00025) * sqrt(0.45)
    assert found.se == pytest.approx(math.sqrt(0.0001125)) == pytest.approx(se)
    assert (found.mean, found.df) == (pytest.approx(0.02), 4)
    assert found.high == pytest.approx(0.02 + 2.7764451 * se)
    assert found.p == pytest.approx(2 * (1 - stats.t.cdf(0.02 / se, 4)))


def test_corrected_t_without_the_correction_is_scipys():
    values = np.random.default_rng(0).normal(0.1, 1, 30)
    found = corrected_t(values, 10**9)  # the shared training rows count for nothing
    expected = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95))


def test_corrected_t_knows_the_region_of_equivalence():
    found = corrected_t([0.01, 0.03, 0.02, 0.00, 0.04], 5, rope=0.005)
    t = stats.t(4, 0.02, found.se)
    assert (found.better, found.worse) == (pytest.approx(t.sf(0.005)), pytest.approx(t.cdf(-0.005)))
    assert found.better + found.equivalent + found.worse == pytest.approx(1)


def test_one_fold_has_a_mean_and_nothing_else():
    found = corrected_t([0.25], 5)
    assert (found.mean, found.df) == (0.25, 0)
    assert all(math.isnan(v) for v in (found.se, found.low, found.high, found.p, found.better))


def test_equal_folds_are_certain():
    found = corrected_t([0.25, 0.25], 2)
    assert (found.low, found.high, found.p, found.better) == (0.25, 0.25, 0, 1)


def test_the_seed_term_is_the_variance_inside_folds():
    keys = [(seed, 0, fold) for seed in (0, 1) for fold in (0, 1)]
    values = np.array([0.1, 0.5, 0.3, 0.9])  # folds (0.1, 0.3) and (0.5, 0.9)
    expected = math.sqrt((0.02 + 0.08) / 2 / 4)
    assert seed_error(values, keys) == pytest.approx(expected)
    term = estimate_seed_term(values, keys, molecules=9.0)
    assert (term.se, term.df, term.source) == (pytest.approx(expected), 2, "seeds")


def test_with_one_seed_the_folds_tell_what_molecules_do_not():
    values, keys = np.array([0.0, 0.2, 0.4]), [(0, 0, fold) for fold in range(3)]
    term = estimate_seed_term(values, keys, molecules=0.1)
    # the folds have variance 0.04, molecules account for 3 * 0.01 of it, three fits for the rest
    assert (term.se, term.df, term.source) == (pytest.approx(math.sqrt(0.01 / 3)), 2, "folds")
    assert estimate_seed_term(values, keys, molecules=0.2).se == 0
    assert math.isnan(estimate_seed_term(values[:1], keys[:1], 0.1).se)


def test_repeats_are_pooled():
    keys = [(0, repeat, fold) for repeat in (0, 1) for fold in (0, 1)]
    values = np.array([0.0, 0.2, 1.0, 1.4])  # variances 0.02 and 0.08 inside the repeats
    term = estimate_seed_term(values, keys, molecules=0.1)
    assert term.se == pytest.approx(math.sqrt((0.05 / 2 - 0.01) / 2))
    assert term.df == 2


def test_a_difference_adds_molecules_and_seeds():
    evidence = random_study()
    arm, reference = evidence.pair(evidence.contrasts[0])
    weights = macro_weights(10)
    found = estimate_difference(arm, reference, evidence.groups, weights)
    values = (arm.auroc - reference.auroc).mean(axis=1)
    pulls = (arm.influence - reference.influence).astype(np.float64).mean(axis=1)
    assert found.estimate == pytest.approx(values.mean())
    assert found.se_influence == pytest.approx(math.sqrt((pulls**2).sum()), rel=1e-5)
    assert found.se == pytest.approx(math.hypot(found.se_influence, found.se_seed))
    df = (len(values) - 4) * (found.se / found.se_seed) ** 4  # 4 folds, two seeds each
    assert found.df == pytest.approx(df)
    assert found.high == pytest.approx(found.estimate + stats.t.ppf(0.975, df) * found.se)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.estimate) / found.se, df))
    assert found.folds == pytest.approx(values.reshape(2, 4).mean(axis=0))


def test_with_one_seed_the_interval_is_the_wider_of_molecules_and_folds():
    evidence = random_study(seeds=(0,))
    arm, reference = evidence.pair(evidence.contrasts[0])
    values = arm.auroc - reference.auroc
    found = [estimate_difference(arm, reference, evidence.groups, one) for one in np.eye(10)]
    wider = 0
    for label, each in enumerate(found):
        plain = stats.ttest_1samp(values[:, label], 0)
        low, high = plain.confidence_interval(0.95)
        reach = stats.norm.ppf(0.975) * each.se_influence
        assert each.high - each.low == pytest.approx(max(high - low, 2 * reach))
        if high - low > 2 * reach:
            wider += 1
            assert each.p == pytest.approx(plain.pvalue)
    assert 0 < wider < 10


def test_arms_of_other_trials_are_refused():
    evidence = random_study()
    arm, _ = evidence.pair(evidence.contrasts[0])
    other = random_study(seeds=(0,)).pair(evidence.contrasts[0])[1]
    with pytest.raises(StudyError, match="different trials"):
        estimate_difference(arm, other, evidence.groups, macro_weights(10))
