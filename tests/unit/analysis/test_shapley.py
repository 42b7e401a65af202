"""Shapley values against a sum over permutations, their intervals against molecules by hand."""

import itertools
import math

import numpy as np
import pytest
from made_studies import file_of, macro, made
from scipy import stats

from study.analysis.paired import compute_standard_error
from study.analysis.shapley import compute_shapley_values, estimate_modality_gains

SETS = [list(s) for size in (1, 2, 3) for s in itertools.combinations("abc", size)]
ALONE, TOGETHER = SETS[:3], SETS[3:]
WORTH = {"a": 0.4, "b": 0.8, "c": 1.1}


def strength(arm):
    """More modalities help, less than their sum, and operators differ."""
    return sum(WORTH[name] for name in arm.names) ** 0.7 + 0.1 * ("product" in str(arm.fusion))


def study(sets=TOGETHER, **keys):
    grid = [{"features": ALONE}, {"features": sets, "fusion": ["concat", "product"]}]
    return made(file_of(grid, split={"folds": 4}, **keys), strength)


@pytest.fixture(scope="module")
def analysis():
    return study(seeds=[0, 1], fractions=[0.5, 1.0])


def arms_of(analysis, fusion, fraction):
    arms = [arm for arm in analysis.results.plan.arms if arm.fraction == fraction]
    wanted = (None, fusion)
    return {frozenset(c.names): c for c in arms if (c.fusion and str(c.fusion)) in wanted}


def test_values_are_mean_gains_over_all_orders(analysis):
    worths = compute_shapley_values(analysis)
    assert len(worths) == 3 * 2 * 2
    for fusion, fraction in itertools.product(("concat", "product"), (0.5, 1.0)):
        arms = arms_of(analysis, fusion, fraction)
        score = {names: macro(analysis, arm).mean() for names, arm in arms.items()}
        score[frozenset()] = 0.5
        expected = dict.fromkeys("abc", 0.0)
        for order in itertools.permutations("abc"):
            for place, name in enumerate(order):
                before = frozenset(order[:place])
                expected[name] += (score[before | {name}] - score[before]) / math.factorial(3)
        here = [
            w for w in worths if (w.technique, w.fraction) == (f"mlp_head / {fusion}", fraction)
        ]
        assert {w.modality: w.value for w in here} == pytest.approx(expected)
        assert sum(w.value for w in here) == pytest.approx(score[frozenset("abc")] - 0.5)


def test_interval_uses_weighted_influence_and_seeds():
    analysis = study(seeds=[0, 1])
    arms = arms_of(analysis, "concat", 1.0)
    weights = {  # of the value of a in a set of three, by hand
        "a": 1 / 3, "ab": 1 / 6, "ac": 1 / 6, "abc": 1 / 3, "b": -1 / 6, "c": -1 / 6, "bc": -1 / 3
    }  # fmt: skip
    sums = {key: analysis.arms[arms[frozenset(key)].id] for key in weights}
    pulls = sum(w * sums[key].influence.astype(float).mean(axis=1) for key, w in weights.items())
    values = sum(w * sums[key].auroc.mean(axis=1) for key, w in weights.items())
    pairs = values.reshape(2, 4)  # keys are sorted by seed, then fold
    seed = math.sqrt(pairs.var(axis=0, ddof=1).mean() / 8)
    se = math.hypot(compute_standard_error(pulls, analysis.groups), seed)
    (worth,) = [
        w
        for w in compute_shapley_values(analysis)
        if (w.modality, w.technique) == ("a", "mlp_head / concat")
    ]
    assert worth.value == pytest.approx(values.mean() - 0.5 / 3)
    reach = stats.t.ppf(0.975, 4 * (se / seed) ** 4) * se  # four folds of two seeds
    assert (worth.low, worth.high) == pytest.approx((worth.value - reach, worth.value + reach))


def test_set_without_all_subsets_has_no_values():
    whole = compute_shapley_values(study([["a", "b"], ["a", "b", "c"]]))
    assert {frozenset(w.features.split("+")) for w in whole} == {frozenset("ab")}
    assert compute_shapley_values(study([["a", "b", "c"]])) == ()


def test_gains_are_paired_differences(analysis):
    gains = [
        g for g in estimate_modality_gains(analysis) if g.fraction == 1 and "concat" in g.technique
    ]
    added = {(g.modality, g.features): g for g in gains if g.kind == "add one"}
    left = {(g.modality, g.features): g for g in gains if g.kind == "leave one"}
    assert added.keys() == set(itertools.permutations("abc", 2))
    assert {(name, *sorted(rest.split("+"))) for name, rest in left} == set(
        map(tuple, ("abc", "bac", "cab"))
    )
    arms = arms_of(analysis, "concat", 1.0)
    for (name, there), gain in {**added, **left}.items():
        rest = frozenset(there.split("+"))
        with_it, without = (macro(analysis, arms[s]) for s in (rest | {name}, rest))
        assert gain.difference.estimate == pytest.approx((with_it - without).mean())
        assert len(gain.difference.folds) == 4


def test_unfinished_arms_are_left_out():
    grid = [{"features": ALONE}, {"features": [["a", "b"]]}]
    raw = file_of(grid, split={"folds": 2})
    analysis = made(raw, strength, without=lambda trial: trial.arm.names == ("a",))
    assert compute_shapley_values(analysis) == ()
    assert [(g.modality, g.features) for g in estimate_modality_gains(analysis)] == [("a", "b")]
    none = made(raw, strength, without=lambda trial: trial.arm.names != ("a",))
    assert estimate_modality_gains(none) == ()
    assert np.isfinite(none.arms[next(iter(none.arms))].level)
