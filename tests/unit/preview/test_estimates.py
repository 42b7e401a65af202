"""Estimates of power and cost: against the error table, results and measured times."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.analysis.study_analysis import StudyAnalysis
from study.config.contrasts import POWER
from study.config.loading import check_study
from study.planning.contrasts import build_contrasts, format_unequal_parameters
from study.planning.plan import make_plan
from study.preview.cost import MeasuredTimes, estimate_cost, estimate_result_bytes
from study.preview.pilot import run_pilot, select_cheapest_and_dearest
from study.preview.power import (
    classify_contrast,
    compute_table_error,
    estimate_detectable_effects,
    find_repeats_needed,
)
from study.preview.prior_results import read_prior_results
from study.preview.text import format_plan

GRID = [
    {"features": [["mordred"], ["fingerprint"]]},
    {"features": [["mordred", "fingerprint"]], "fusion": ["concat", "product"]},
]


def study(**keys):
    return check_study({"name": "mine", "data": "starter", "grid": GRID, **keys}, "x")


@pytest.mark.parametrize(("repeats", "smallest"), [(1, 0.0051), (5, 0.0041)])
def test_the_error_table_gives_the_measured_effects(repeats, smallest):
    """Measured on 4,983 molecules: 0.0051 with 5 fits and 0.0041 with 25."""
    plan = make_plan(study(split={"folds": 5, "repeats": repeats}))
    assert POWER * compute_table_error("unlike", plan, 4_983) == pytest.approx(smallest, abs=6e-5)


def test_the_error_falls_with_molecules_repeats_and_seeds():
    plan = make_plan(study())
    whole = compute_table_error("alike", plan, 4_000)
    assert compute_table_error("alike", plan, 1_000) == pytest.approx(2 * whole)
    assert compute_table_error("alike", replace(plan, repeats=2), 4_000) < whole
    assert compute_table_error("alike", replace(plan, seeds=(0, 1)), 4_000) < whole
    assert compute_table_error("unlike", plan, 4_000) > whole


def test_contrasts_with_equal_features_and_fractions_are_alike():
    spec = study(fractions=[0.5, 1.0])
    kinds = {c.family: classify_contrast(c) for c in build_contrasts(spec, make_plan(spec))}
    assert kinds == {"technique": "alike", "modality": "unlike"}


def test_low_power_is_warned_of_with_a_remedy():
    spec = study(analysis={"rope": 0.002})
    plan = make_plan(spec)
    assert "warning   modality: 2 pairs cannot be resolved" in format_plan(spec)
    assert "technique: 0.00" in format_plan(spec)
    assert "warning   technique" not in format_plan(spec)
    effects = [
        f
        for f in estimate_detectable_effects(build_contrasts(spec, plan), plan, 5_000)
        if f.source == "unlike"
    ]
    enough = find_repeats_needed(effects[0], plan, 5_000, 0.0045)
    assert enough is not None
    limits = [
        POWER * compute_table_error("unlike", replace(plan, repeats=k), 5_000) for k in range(1, 9)
    ]
    assert limits[enough - 1] <= 0.0045 < limits[enough - 2]
    assert find_repeats_needed(effects[0], plan, 5_000, 0.001) is None


def test_finished_folds_give_measured_errors(launched):
    launched_study, results, _ = launched
    spec, plan = launched_study.spec, launched_study.plan
    prior = read_prior_results(spec, plan)
    assert (prior.molecules, prior.labels) == (120, 6)
    assert prior.trials.keys() == {arm.id for arm in plan.arms}
    (contrast,) = (c for c in build_contrasts(spec, plan) if c.family == "control")
    (effect,) = estimate_detectable_effects([contrast], plan, 120, prior)
    sides = [results.results_of(arm)[0] for arm in (contrast.arm, contrast.reference)]
    variance = _bootstrap_variance(*sides, launched_study.data.split.groups)
    seeds = 2 * 0.0015**2 / plan.trials_per_arm * 4_983 / 120
    assert effect.source == "measured"
    assert effect.smallest == pytest.approx(2.8 * math.sqrt(variance / 2 + seeds), rel=0.15)
    finding = next(f for f in StudyAnalysis(results, (contrast,)).findings)
    assert effect.smallest == pytest.approx(2.8 * finding.macro.se_influence, rel=0.5)


def _bootstrap_variance(arm, reference, groups):
    """Variance of the difference in macro AUROC over draws of whole groups of molecules."""
    rng, draws = np.random.default_rng(0), []
    members = {}
    for place, group in enumerate(groups[arm.test_rows]):
        members.setdefault(group, []).append(place)
    blocks = list(members.values())
    while len(draws) < 1_000:
        chosen = [blocks[i] for i in rng.integers(len(blocks), size=len(blocks))]
        rows = np.concatenate(chosen)
        labels = arm.test_labels[rows]
        if (labels.sum(0) > 0).all() and (labels.sum(0) < len(rows)).all():
            draws.append(_auroc(labels, arm.scores[rows]) - _auroc(labels, reference.scores[rows]))
    return float(np.var(draws))


def _auroc(labels, scores):
    values = []
    for truth, score in zip(labels.T.astype(bool), scores.T, strict=True):
        pairs = score[truth][:, None] - score[~truth][None]
        values.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    return np.mean(values)


def test_recorded_times_replace_the_coefficients(launched):
    launched_study, results, _ = launched
    plan = launched_study.plan
    times = read_prior_results(launched_study.spec, plan).times(plan, 120)
    single = plan.arms[0]
    assert times.arms[single.id] == pytest.approx(results.results_of(single)[0].seconds, rel=0.05)
    trained = [arm for arm in plan.arms if arm.technique != "independent_mean"]
    expected = sum(times.arms[arm.id] for arm in trained) * plan.trials_per_arm
    assert estimate_cost(plan, 120, times).core_seconds == pytest.approx(expected)
    text = format_plan(launched_study.spec)
    assert "recorded trials of 4 arms; 120 molecules" in text
    assert "(from finished trials)" in text


def test_another_study_gives_times_but_no_table_size(launched):
    launched_study, _, _ = launched
    other = launched_study.spec.model_copy(update={"name": "other"})
    prior = read_prior_results(other, launched_study.plan)
    assert prior.molecules is None
    assert len(prior.trials) == len(launched_study.plan.arms)


def test_ledger_has_the_estimated_size(launched):
    launched_study, _, _ = launched
    folder = Path(launched_study.ledger.storage.url)
    size = sum(file.stat().st_size for file in folder.glob("*.trial"))
    scores = estimate_result_bytes(launched_study.plan, 120, 6)
    heads = 4_000 * len(list(folder.glob("*.trial")))  # specs, history, versions: small tables
    assert scores < size < scores + heads


def test_unequal_parameters_are_reported():
    spec = study()
    contrasts = build_contrasts(spec, make_plan(spec))
    technique = [c for c in contrasts if c.family == "technique"]
    counts = {arm.id: 100.0 for c in technique for arm in (c.arm, c.reference)}
    assert format_unequal_parameters(technique, counts) == []
    (line,) = format_unequal_parameters(technique, {**counts, technique[0].arm.id: 103.0})
    assert line.startswith("technique: 1 of 1 pairs differ by more than 2%")
    assert "1.03" in line


def test_a_pilot_leaves_no_result(tiny, spec_of, tmp_path):
    tiny["modalities"]["characters"]["calibration"] = "finetune"
    spec = spec_of(tiny, tmp_path)
    plan = make_plan(spec)
    assert next(str(arm) for arm in select_cheapest_and_dearest(plan, 120)) == "counts / single / 1"
    times = run_pilot(spec)
    assert times.heads > 0
    assert times.encoders["smiles"] > 0
    assert times.table == (120, 6)
    slower = MeasuredTimes(heads=10 * times.heads, encoders=times.encoders)
    assert (
        estimate_cost(plan, 120, slower).core_seconds > estimate_cost(plan, 120, times).core_seconds
    )
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"datasets", "features"}
    assert "a pilot: 2 epochs of one fold of 2 arms; 120 molecules" in format_plan(spec, times)


def test_ten_thousand_arms_are_planned_in_two_seconds():
    numbers = {
        "dropout": [i / 100 for i in range(50)],
        "learning_rate": [1e-4 * i for i in range(1, 21)],
    }
    block = {
        "features": [["mordred", "fingerprint"], ["mordred"]],
        "training": numbers,
        "technique": ["mlp_head", "label_balancer"],
        "fusion": ["concat", "product", "parallel"],
    }
    raw = {"name": "many", "data": "starter", "grid": [block], "fractions": [0.5, 1.0]}
    spec = check_study(raw, "x")
    started = time.process_time()
    lines = format_plan(spec).splitlines()
    assert time.process_time() - started < 2
    assert "cells     10,000 distinct arms" in lines
    assert len(lines) < 30
