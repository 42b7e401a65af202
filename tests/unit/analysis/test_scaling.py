"""Learning curves, data-efficiency fractions and claims against cases worked out by hand."""

import csv
import io
import json
import math

import numpy as np
import pytest
import typer
from made_studies import file_of, macro, made
from sklearn.isotonic import IsotonicRegression
from typer.testing import CliRunner

from study.analysis.arm_scores import build_arm_scores
from study.analysis.bootstrap import (
    draw_scores,
    estimate_molecule_covariance,
    estimate_seed_covariance,
)
from study.analysis.learning_curves import (
    build_fraction_claims,
    build_learning_curves,
    estimate_data_efficiency,
)
from study.analysis.paired import estimate_difference, estimate_level
from study.analysis.power_law import estimate_fraction_interval, find_fraction_needed
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import adjust_holm
from study.cli.analysis import scaling
from study.errors import InputError
from study.metrics import auroc
from study.planning.contrasts import build_default_contrasts
from study.reporting.tables import build_scaling_tables, format_scaling

FRACTIONS = np.array([0.1, 0.2, 0.4, 0.8])
SCORES = np.array([0.6, 0.7, 0.8, 0.9])
WORTH = {("a",): 0.5, ("b",): 0.8}
GRID = [
    {"features": [["a"], ["b"]]},
    {"features": [["a", "b"]], "technique": ["mlp_head", "independent_mean"]},
]


def strength(arm):
    """An arm of two modalities at half the data equals b alone with all of it."""
    return WORTH.get(arm.names, 1.6) * arm.fraction


@pytest.mark.parametrize(
    ("target", "fraction", "censored"),
    [
        (0.75, math.sqrt(0.2 * 0.4), ""),  # half way, in log n
        (0.8, 0.4, ""),
        (0.9, 0.8, ""),
        (0.901, 0.8, "above"),
        (0.6, 0.1, "below"),
        (0.5, 0.1, "below"),
    ],
)
def test_smallest_fraction_that_reaches_a_score(target, fraction, censored):
    result = find_fraction_needed(FRACTIONS, SCORES, target)
    assert result.fraction == pytest.approx(fraction)
    assert result.censored == censored


def test_isotonic_fit_agrees_with_scikit_learn():
    scores = np.array([0.6, 0.8, 0.7, 0.9])
    rising = IsotonicRegression().fit_transform(FRACTIONS, scores)
    result = find_fraction_needed(FRACTIONS, scores, 0.72)
    assert np.interp(np.log(result.fraction), np.log(FRACTIONS), rising) == pytest.approx(0.72)
    assert (
        find_fraction_needed(FRACTIONS, scores, 0.76).fraction > 0.4
    )  # on the plateau at 0.75 until there


def test_censored_draws_open_the_interval():
    targets = np.linspace(0.65, 0.85, 201)
    inside = estimate_fraction_interval(FRACTIONS, np.tile(SCORES, (201, 1)), targets)
    ends = [
        find_fraction_needed(FRACTIONS, SCORES, target).fraction for target in targets[[5, 195]]
    ]
    assert inside == pytest.approx(ends)
    targets[:20], targets[-20:] = 0.1, 0.99
    assert estimate_fraction_interval(FRACTIONS, np.tile(SCORES, (201, 1)), targets) == (
        0,
        math.inf,
    )


@pytest.fixture(scope="module")
def analysis():
    raw = file_of(GRID, split={"folds": 4}, seeds=[0, 1], fractions=[1.0, 0.25, 0.5, 0.75])
    return made(raw, strength)


def test_curve_has_the_levels_of_its_arms(analysis):
    result = {curve.name: curve for curve in build_learning_curves(analysis)}
    assert len(result) == 4
    for curve in result.values():
        assert curve.fractions == (0.25, 0.5, 0.75, 1.0)
        assert curve.molecules == pytest.approx((24, 50, 76, 100), abs=1.01)  # rounded parts
        assert {arm.curve_id for arm in curve.arms} == {curve.curve_id}
        points = zip(curve.arms, curve.auroc, curve.low, curve.high, strict=True)
        for arm, score, low, high in points:
            expected = estimate_level(analysis.arms[arm.id], analysis.groups, analysis.weights)[0]
            assert score == pytest.approx(macro(analysis, arm).mean())
            assert (low, high) == (expected.low, expected.high)
        assert curve.monotone
        assert curve.two.b_low < curve.two.b < curve.two.b_high
        assert curve.three.holdout_error >= 0


def test_only_significant_drops_are_flagged():
    grid, fractions = [{"features": [["a"]]}], [0.25, 0.5, 1.0]
    raw = file_of(grid, split={"folds": 4}, fractions=fractions)

    def shape(*levels):
        (curve,) = build_learning_curves(
            made(raw, lambda c: levels[fractions.index(c.fraction)], noise=0.05)
        )
        return curve

    dropping, flat = shape(0.5, 1.2, 0.8), shape(0.5, 1.2, 1.2)
    assert not dropping.monotone
    assert dropping.auroc[1] > dropping.auroc[2]  # as it was, not smoothed
    assert flat.monotone


def test_two_points_have_no_power_law():
    raw = file_of([{"features": [["a"]]}], split={"folds": 2}, fractions=[0.5, 1.0])
    (curve,) = build_learning_curves(made(raw, strength))
    assert (curve.two, curve.three) == (None, None)
    assert (
        build_learning_curves(made(file_of([{"features": [["a"]]}], split={"folds": 2}), strength))
        == ()
    )


def test_fractions_share_their_trials():
    raw = file_of([{"features": [["a"]]}], split={"folds": 3}, fractions=[0.25, 0.5, 1.0])
    lost = made(raw, strength, without=lambda t: t.arm.fraction < 1 and t.fold == 2)
    (curve,) = build_learning_curves(lost)
    whole = next(arm for arm in lost.results.plan.arms if arm.fraction == 1)
    assert curve.auroc[-1] == pytest.approx(macro(lost, whole)[:2].mean())


def test_draws_agree_with_interval_of_difference(analysis):
    arms = analysis.results.plan.arms
    one, other = (analysis.arms[arms[i].id] for i in (0, 5))
    draws = draw_scores([one, other], analysis.groups, analysis.weights, 20_000, seed=1)
    result = estimate_difference(one, other, analysis.groups, analysis.weights)
    ends = np.quantile(draws[:, 0] - draws[:, 1], [0.025, 0.975])
    assert ends[1] - ends[0] == pytest.approx(result.high - result.low, rel=0.08)
    assert draws.mean(axis=0) == pytest.approx([one.level, other.level], abs=5e-4)
    again = draw_scores([one, other], analysis.groups, analysis.weights, 20_000, seed=1)
    assert (draws == again).all()


def test_molecule_covariance_agrees_with_bootstrap(analysis):
    arms = analysis.results.plan.arms[:3]
    trials = [analysis.results.results_of(arm)[:4] for arm in arms]  # the folds of one seed
    all_scores = [build_arm_scores(results, 240) for results in trials]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        times = rng.multinomial(120, np.full(120, 1 / 120))[analysis.groups]
        row = []
        for results in trials:
            again = ((r, np.repeat(np.arange(len(r.scores)), times[r.test_rows])) for r in results)
            row.append(np.mean([auroc(r.test_labels[i], r.scores[i]).mean() for r, i in again]))
        drawn.append(row)
    expected = np.cov(np.transpose(drawn))
    result = estimate_molecule_covariance(all_scores, analysis.groups, analysis.weights)
    assert result == pytest.approx(expected, rel=0.2)


def test_seed_covariance_of_one_seed_uses_folds():
    raw = file_of([{"features": [["a"], ["b"]]}], split={"folds": 4})
    lone = made(raw, strength, noise=3.0)
    one, other = arms = list(lone.arms.values())
    result = estimate_difference(one, other, lone.groups, lone.weights)
    molecules = estimate_molecule_covariance(arms, lone.groups, lone.weights)
    seeds, freedom = estimate_seed_covariance(arms, molecules, lone.weights)
    away = np.array([1, -1])
    assert away @ molecules @ away == pytest.approx(result.se_influence**2)
    assert away @ seeds @ away >= result.se_seed**2 * (1 - 1e-9)  # directions of less than nothing
    assert freedom == 3


def test_claims_cover_every_smaller_fraction(analysis):
    claims = build_fraction_claims(analysis)
    pairs = {(c.arm.curve_id, c.reference.curve_id) for c in claims}
    names = {
        c.curve_id: c.technique if len(c.names) > 1 else c.names[0]
        for c in analysis.results.plan.arms
    }
    assert {(names[a], names[r]) for a, r in pairs} == {
        ("independent_mean", "mlp_head"),
        ("mlp_head", "a"),
        ("mlp_head", "b"),
    }
    assert len(claims) == 3 * 3
    assert {c.arm.fraction for c in claims} == {0.25, 0.5, 0.75}
    assert {c.reference.fraction for c in claims} == {1.0}
    for claim in claims:
        away = macro(analysis, claim.arm) - macro(analysis, claim.reference)
        assert claim.difference.estimate == pytest.approx(away.mean())
    adjusted = adjust_holm([claim.difference.p for claim in claims])
    assert [claim.verdict.p_holm for claim in claims] == adjusted
    verdicts = {
        (names[c.arm.curve_id], names[c.reference.curve_id], c.arm.fraction): str(c.verdict)
        for c in claims
    }
    assert verdicts["mlp_head", "a", 0.75] == "wins"
    assert verdicts["mlp_head", "b", 0.25] == "reference wins"


def test_ensembles_meet_single_models_only_on_request():
    keys = {"split": {"folds": 2}, "fractions": [0.5, 1.0]}
    fair = build_fraction_claims(made(file_of(GRID, **keys), strength))
    every = build_fraction_claims(
        made(file_of(GRID, **keys, analysis={"ensembles": "any"}), strength)
    )
    assert (len(fair), len(every)) == (3, 5)
    more = [claim.arm.technique for claim in every if len(claim.reference.names) == 1]
    assert sorted(more) == ["independent_mean", "independent_mean", "mlp_head", "mlp_head"]


def test_data_efficiency_of_known_curves(analysis):
    efficiencies = {
        (efficiency.arm, efficiency.reference): efficiency
        for efficiency in estimate_data_efficiency(analysis)
    }
    assert len(efficiencies) == 3
    (head,) = [e for (a, r), e in efficiencies.items() if "mlp_head" in a and r == "b / single"]
    assert head.fraction == pytest.approx(0.5, abs=0.05)  # 1.6 * 0.5 = 0.8
    assert head.low < head.fraction < head.high
    assert (head.censored, head.factor) == ("", 1 / head.fraction)
    raw = file_of(GRID, split={"folds": 4}, fractions=[0.25, 0.5, 1.0])
    weaker = made(raw, lambda arm: 0.05 if len(arm.names) > 1 else 1.0)
    above = [e for e in estimate_data_efficiency(weaker) if e.reference.endswith("single")]
    assert {(e.censored, e.fraction, e.high) for e in above} == {("above", 1.0, math.inf)}


def test_one_fraction_has_no_scaling():
    single = made(file_of(GRID, split={"folds": 2}), strength)
    assert (build_fraction_claims(single), estimate_data_efficiency(single)) == ((), ())
    with pytest.raises(InputError, match="no arm with finished trials at two training fractions"):
        build_scaling_tables(single)


def test_command_prints_scaling_tables(tmp_path, tiny, spec_of, run_tiny):
    grid = [{"features": [["counts"]]}, {"features": [["counts", "characters"]]}]
    raw = tiny | {"grid": grid, "fractions": [0.4, 0.7, 1.0]}
    _, record, _ = run_tiny(spec_of(raw, tmp_path))
    parts = build_scaling_tables(StudyAnalysis(record, build_default_contrasts(record.plan.arms)))
    app = typer.Typer()
    app.command()(scaling)
    result = CliRunner().invoke(app, ["tiny", "--storage", str(tmp_path)])
    assert result.exit_code == 0
    assert result.output == format_scaling(parts, "table")
    tables = json.loads(format_scaling(parts, "json"))
    assert {name: len(rows) for name, rows in tables.items()} == {
        "curves": 2 * 3,
        "power_laws": 2,  # three points: no floor
        "efficiencies": 1,  # declared, and an arm of two modalities against one: the same pair
        "claims": 2,
    }
    rows = list(csv.DictReader(io.StringIO(format_scaling(parts, "csv"))))
    assert [row["part"] for row in rows] == [
        name for name, part_rows in tables.items() for _ in part_rows
    ]
    first = tables["curves"][0]
    assert float(rows[0]["auroc"]) == first["auroc"]
    for text in (result.output, format_scaling(parts, "md")):
        assert "Holm over all 2 claims" in text
        assert f"{first['auroc']:.4f} [{first['auroc_low']:.4f}, {first['auroc_high']:.4f}]" in text
