"""Factor effects against grids of known shares and means by hand."""

import math

import numpy as np
import pytest
from made_studies import file_of, macro, made

from study.analysis.anova import decompose_variance
from study.analysis.factor_effects import estimate_factor_effects
from study.analysis.factor_grid import build_factor_grid
from study.analysis.mixed_model import TrialScores, estimate_marginal_means, fit_main_effects
from study.analysis.paired import compute_corrected_t

SETS = [["a", "b"], ["a", "c"], ["b", "c"]]
STRENGTH = {"ab": 0.5, "ac": 0.9, "bc": 1.3}


def even(_):
    return 1.0


def strength(arm):
    operator = {"concat": 0.0, "product": 0.25, "parallel": 0.1}.get(str(arm.fusion), 0.0)
    mean = 0.1 * (arm.technique == "independent_mean")
    return (STRENGTH.get("".join(sorted(arm.names)), 0.7) + operator + mean) * arm.fraction**0.3


def contrast_codes(levels, rng):
    """Effects of levels that sum to zero."""
    effects = rng.normal(size=levels)
    return effects - effects.mean()


def test_known_variance_shares_are_recovered():
    rng = np.random.default_rng(1)
    first, second = contrast_codes(4, rng), contrast_codes(3, rng)
    both = np.outer(contrast_codes(4, rng), contrast_codes(3, rng))
    noise = rng.normal(size=(5, 4, 3))  # what is left of it when it is block times arm only
    noise -= noise.mean(axis=0)
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    parts = {"first": first[:, None] + 0 * both, "second": second + 0 * both, "both": both}
    values = sum(parts.values()) + noise + 10 * rng.normal(size=(5, 1, 1))
    squares = {name: 5 * (part**2).sum() for name, part in parts.items()}
    squares["residual"] = (noise**2).sum()
    total = sum(squares.values())
    result = decompose_variance(values, ["first", "second"], 0.5)
    assert [s.factor for s in result] == ["first", "second", "first x second", "residual"]
    assert [s.share for s in result] == pytest.approx([v / total for v in squares.values()])
    assert [s.sd for s in result] == pytest.approx([math.sqrt(v / 60) for v in squares.values()])
    error = squares["residual"] / (4 * 11)
    assert result[0].omega == pytest.approx((squares["first"] - 3 * error) / (total + error))
    assert {s.fraction for s in result} == {0.5}


def squares_of(values, axes):
    """Sum of squares of an effect: means over all other axes, centered along its own."""
    others = tuple(set(range(values.ndim)) - set(axes))
    part = values.mean(axis=others, keepdims=True)
    for axis in axes:
        part = part - part.mean(axis=axis, keepdims=True)
    return (part**2).sum() * values.size / part.size


@pytest.mark.parametrize("blocks", [1, 4])
def test_three_factors_agree_with_means_by_hand(blocks):
    values = np.random.default_rng(2).normal(size=(blocks, 3, 2, 3))
    within = values - values.mean(axis=(1, 2, 3), keepdims=True)
    total = (within**2).sum()
    effects = {"f": [1], "g": [2], "h": [3], "f x g": [1, 2], "f x h": [1, 3], "g x h": [2, 3]}
    expected = {name: squares_of(values, axes) / total for name, axes in effects.items()}
    expected["higher"] = squares_of(values, [1, 2, 3]) / total
    left = within - within.mean(axis=0)
    expected["residual"] = (left**2).sum() / total
    shares = decompose_variance(values, ["f", "g", "h"], None)
    assert {share.factor: share.share for share in shares} == pytest.approx(expected)
    assert sum(share.share for share in shares) == pytest.approx(1)
    if blocks > 1:
        error = (left**2).sum() / (3 * 17)
        omega = (expected["higher"] * total - 4 * error) / (total + error)
        assert shares[6].omega == pytest.approx(omega)


def test_equal_scores_have_undefined_shares():
    (share, rest) = decompose_variance(np.full((3, 2), 0.8), ["f"], None)
    assert math.isnan(share.share)
    assert (share.sd, rest.sd) == (0, 0)
    (alone, _) = decompose_variance(np.array([[0.8, 0.9]]), ["f"], None)  # one trial: no residual
    assert alone.share == pytest.approx(1)
    assert math.isnan(alone.omega)


@pytest.fixture(scope="module")
def full():
    grid = [{"features": SETS, "fusion": ["concat", "product"]}, {"features": [["a"]]}]
    raw = file_of(grid, split={"folds": 4}, seeds=[0, 1], fractions=[0.25, 1.0])
    return made(raw, strength)


def test_full_grid_is_exact_pooled_and_per_fraction(full):
    effects = estimate_factor_effects(full)
    assert effects.complete
    assert effects.note.startswith("exact analysis of variance")
    pooled = {s.factor: s.share for s in effects.shares if s.fraction is None}
    assert sum(pooled.values()) == pytest.approx(1)
    assert pooled["fraction"] > pooled["head"]
    assert "features x head" in pooled
    for fraction in (0.25, 1.0):
        arms = [c for c in full.results.plan.arms if len(c.names) > 1 and c.fraction == fraction]
        values = np.array([macro(full, arm) for arm in arms]).T.reshape(8, 3, 2)
        here = [s for s in effects.shares if s.fraction == fraction]
        expected = decompose_variance(values, ["features", "head"], fraction)
        assert [s.share for s in here] == pytest.approx([s.share for s in expected])
        assert [s.factor for s in here] == ["features", "head", "features x head", "residual"]


def test_marginal_means_and_interactions_by_hand(full):
    effects = estimate_factor_effects(full)
    arms = [arm for arm in full.results.plan.arms if len(arm.names) > 1]
    scores = {arm.id: macro(full, arm) for arm in arms}
    products = [arm for arm in arms if "product" in str(arm.fusion)]
    mine = np.mean([scores[arm.id] for arm in products], axis=0)
    away = mine - np.mean(list(scores.values()), axis=0)
    expected = compute_corrected_t(away.reshape(2, 4).mean(axis=0), 4)  # seeds, folds
    grand = np.mean(list(scores.values()))
    (result,) = [m for m in effects.marginals if m.level == "mlp_head / product"]
    assert result.factor == "head"
    assert (result.mean, result.low, result.high) == pytest.approx(
        (mine.mean(), grand + expected.low, grand + expected.high)
    )
    (table,) = [
        interaction
        for interaction in effects.interactions
        if (interaction.row_factor, interaction.column_factor) == ("head", "fraction")
    ]
    assert table.columns == ("0.25", "1")
    some = [scores[arm.id].mean() for arm in products if arm.fraction == 0.25]
    assert table.means[table.rows.index("mlp_head / product")][0] == pytest.approx(np.mean(some))


def test_grid_with_gaps_uses_largest_full_part():
    grid = [
        {"features": SETS, "technique": ["mlp_head", "independent_mean"]},
        {"features": [["a", "b", "c"]], "fusion": ["concat", "product"]},
    ]
    effects = estimate_factor_effects(made(file_of(grid, split={"folds": 3}), strength))
    assert not effects.complete
    assert "largest full part, 6 arms, without features" in effects.note
    assert "head mlp_head / product" in effects.note
    assert len([m for m in effects.marginals if m.factor == "features"]) == 3
    rows = effects.interactions[0]
    assert np.isfinite(rows.means).all()


def test_one_factor_at_a_time_uses_mixed_model():
    grid = [
        {"features": SETS},
        {"features": [["a", "b"]], "fusion": ["product", "parallel"]},
    ]
    analysis = made(file_of(grid, split={"folds": 5}), strength)
    effects = estimate_factor_effects(analysis)
    assert not effects.complete
    assert "mixed model" in effects.note
    assert {s.factor for s in effects.shares} == {"features", "head", "residual"}
    assert sum(s.share for s in effects.shares) == pytest.approx(1)
    heads = {m.level: m.mean for m in effects.marginals if m.factor == "head"}
    same = [c for c in analysis.results.plan.arms if sorted(c.names) == ["a", "b"]]
    scores = {f"mlp_head / {arm.fusion}": macro(analysis, arm).mean() for arm in same}
    # Arms that differ in the operator alone have the same features: only they tell of it.
    for name, score in scores.items():
        away = heads[name] - heads["mlp_head / concat"]
        assert away == pytest.approx(score - scores["mlp_head / concat"], abs=1e-6)
    assert all(m.low < m.mean < m.high for m in effects.marginals)
    assert math.isnan(effects.interactions[0].means[1][1])


def test_mixed_model_agrees_with_exact_analysis():
    grid = [{"features": [["a", "b"]], "fusion": ["concat", "product"]}]
    analysis = made(file_of(grid, split={"folds": 5, "repeats": 2}), strength)
    whole = build_factor_grid(analysis.results.plan.arms)
    arms = list(analysis.arms.values())
    scores = np.stack([macro(analysis, arm.arm) for arm in arms], axis=1)
    levels = tuple(level for level in whole.arms for _ in arms[0].keys)
    trials = TrialScores(whole, levels, arms[0].keys * 2, scores.T.ravel())
    result, exact = (
        fit_main_effects(trials),
        list(estimate_marginal_means(scores, whole, arms[0].keys)),
    )
    assert result.mean == pytest.approx(scores.mean())
    for mine, other in zip(result.marginals(), exact, strict=True):
        assert (mine.factor, mine.level) == (other.factor, other.level)
        numbers = (mine.mean, mine.low, mine.high)
        assert numbers == pytest.approx((other.mean, other.low, other.high), abs=1e-4)
    residual = 2 * result.residual  # two arms: the variance of their difference
    assert residual == pytest.approx((scores[:, 0] - scores[:, 1]).var(ddof=1), rel=1e-2)


def test_confounded_factors_are_not_fitted():
    grid = [
        {"features": [["a", "b"]], "fusion": ["concat"]},
        {"features": [["a", "c"]], "fusion": ["product"]},
    ]
    effects = estimate_factor_effects(made(file_of(grid, split={"folds": 3}), strength))
    assert (effects.shares, effects.marginals) == ((), ())
    assert "cannot be told apart" in effects.note


def test_missing_trials_are_reported():
    raw = file_of([{"features": SETS}], split={"folds": 4})
    lost = made(
        raw,
        strength,
        without=lambda t: t.fold == 3 and "c" in t.arm.names,
    )
    effects = estimate_factor_effects(lost)
    assert not effects.complete
    assert "the 3 of 4 trials" in effects.note
    assert sum(s.share for s in effects.shares) == pytest.approx(1)


def test_single_modalities_are_used_without_others():
    effects = estimate_factor_effects(made(file_of([{"features": [["a"], ["b"]]}]), even))
    assert "arms of one modality" in effects.note
    assert [s.factor for s in effects.shares] == ["features", "residual"]
    alone = estimate_factor_effects(made(file_of([{"features": [["a"]]}]), even))
    assert alone.shares == ()
