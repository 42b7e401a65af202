"""Summaries against numbers worked out by hand."""

import math

import numpy as np
import pytest

from study.config.loading import check_study
from study.planning.contrasts import find_reference_arms
from study.planning.plan import make_plan
from study.planning.trials import Trial
from study.reporting.tables import find_unconverged, find_undefined
from study.results.summary import summarize
from study.results.trial_result import TrialResult

NAMES = ("a", "b", "c", "d", "e")
TRUTH = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0], [1, 1, 1, 0, 1]], np.uint8)
RIGHT, WRONG, EVEN = TRUTH, 1 - TRUTH, np.full_like(TRUTH, 1) / 2


def arms(**keys):
    grid = {"features": [["graph", "mordred"]], **keys}
    raw = {"name": "m", "data": "starter", "grid": [grid], "training": {"epochs": 7}}
    return make_plan(check_study(raw, "x")).arms


def trial(arm, fold, scores, *, truth=TRUTH, best=3, seconds=2.0, seed=0):
    return TrialResult(
        id=f"{arm.id}-{fold}-{seed}",
        trial=Trial(arm, 0, fold, seed).to_json(),
        label_names=NAMES,
        test_rows=np.arange(len(truth)),
        test_labels=truth,
        scores=np.asarray(scores, np.float32),
        counts={"best_epoch": best},
        seconds=seconds,
    )


HEAD, BALANCER = arms(technique=["mlp_head", "label_balancer"])
POSITIVES = np.array([50, 40, 30, 20, 10])


def worse_last(column):
    """Scores that are right but for one label, where they are wrong: AUROC 1, 1, 1, 1, 0."""
    scores = RIGHT.astype(float)
    scores[:, column] = WRONG[:, column]
    return scores


def test_means_and_spread_by_hand():
    results = [
        trial(HEAD, 0, EVEN, seconds=1),  # AUROC 0.5 everywhere
        trial(HEAD, 1, worse_last(4), seconds=3),  # 0.8, sparse label 0
        trial(BALANCER, 0, RIGHT),
        trial(BALANCER, 1, worse_last(0)),
    ]
    head, balancer = summarize([HEAD, BALANCER], results, POSITIVES, 2)
    assert head.folds == (0.5, 0.8)
    assert head.auroc == pytest.approx(0.65)
    assert head.auroc_sd == pytest.approx(0.3 / math.sqrt(2))
    assert head.fifths == pytest.approx((0.75, 0.75, 0.75, 0.75, 0.25))
    assert head.seconds == 2
    assert balancer.folds == (1, 0.8)
    assert [(s.repeats, s.missing) for s in (head, balancer)] == [(2, 0), (2, 0)]


def test_average_precision_by_hand():
    (summary,) = summarize([HEAD], [trial(HEAD, 0, EVEN)], POSITIVES, 1)
    assert summary.average_precision == pytest.approx(0.5)  # all tied: the share of positives


def test_arm_without_results_is_nan_and_missing():
    head, balancer = summarize([HEAD, BALANCER], [trial(HEAD, 0, RIGHT)], POSITIVES, 2)
    assert (head.missing, balancer.missing) == (1, 2)
    assert math.isnan(balancer.auroc)
    assert math.isnan(head.auroc_sd)
    assert balancer.fifths == ()


def test_unconverged_trials_are_counted_and_reported():
    results = [trial(HEAD, fold, RIGHT, best=best) for fold, best in enumerate((2, 3, 6, 7, 7))]
    (summary,) = summarize([HEAD], results, POSITIVES, 5)
    assert summary.unconverged == 3
    (line,) = find_unconverged([summary])
    assert line.startswith(f"not converged: {HEAD}: 3 of 5 trials were best in one of their first")


def test_undefined_label_is_counted_and_reported():
    truth = TRUTH.copy()
    truth[:, 2] = 0
    results = [trial(HEAD, 0, RIGHT, truth=truth), trial(HEAD, 1, RIGHT)]
    (summary,) = summarize([HEAD], results, POSITIVES, 2)
    assert summary.undefined == 1
    assert np.isnan([summary.auroc, summary.average_precision, summary.folds[0]]).all()
    assert summary.folds[1] == 1
    assert np.isnan(summary.fifths).tolist() == [False, False, True, False, False]
    (line,) = find_undefined([summary])
    assert line.startswith(f"undefined: {HEAD}: AUROC of 1 pair of label and test fold, ")
    assert find_undefined(summarize([HEAD], results[1:], POSITIVES, 2)) == []


def test_reference_is_the_first_matching_head():
    raw = {
        "name": "m",
        "data": "starter",
        "grid": [
            {"features": [["mordred"]]},
            {
                "features": [["graph", "mordred"], ["smiles", "mordred"]],
                "technique": ["label_balancer", "mlp_head", "independent_mean"],
                "fusion": ["product", "concat"],
                "training": {"dropout": [0.1, 0.2]},
            },
        ],
        "fractions": [0.5, 1.0],
    }
    plan = make_plan(check_study(raw, "x"))
    arms, references = {arm.id: arm for arm in plan.arms}, find_reference_arms(plan.arms)
    for arm, head in references.items():
        one, other = arms[arm], arms[head]
        assert other.technique == "mlp_head"
        assert str(other.fusion) == "product"
        assert (one.names, one.fraction, one.training) == (
            other.names,
            other.fraction,
            other.training,
        )
    wide = [arm for arm in plan.arms if len(arm.features) > 1]
    assert len(references) == len(wide) - 8  # every wide arm but the eight references themselves


def test_no_reference_without_a_head():
    assert find_reference_arms(arms(technique=["label_balancer", "independent_mean"])) == {}
