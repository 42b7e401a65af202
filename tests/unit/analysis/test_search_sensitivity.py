"""Sensitivity to the budget: the exact formula against all subsets, and what follows from it."""

from itertools import combinations
from math import isnan

import numpy as np
import pytest

from study.analysis.search_sensitivity import (
    ArmSearch,
    estimate_best_so_far,
    estimate_expected_best,
    find_crossings,
)
from study.config.loading import check_study
from study.errors import TrialError
from study.planning.plan import make_plan
from study.results.search_log import SearchCandidate, SearchLog, find_best_index

VALUES = (0.61, 0.7, 0.55, 0.7, 0.64)


def log_of(values, method="random", budget=None):
    tried = tuple(
        SearchCandidate(
            {"dropout": i / 10}, () if v is None else (0.5, v), v is not None, "" if v else "it"
        )
        for i, v in enumerate(values)
    )
    return SearchLog(method, budget or len(tried), "auroc", tried, find_best_index(tried), 1.0)


def mean_of_maxima(values, count):
    return np.mean([max(some) for some in combinations(values, count)])


@pytest.mark.parametrize("count", range(1, 6))
def test_expected_best_is_mean_over_all_subsets(count):
    assert estimate_expected_best(VALUES)[count - 1] == pytest.approx(
        mean_of_maxima(VALUES, count), abs=1e-12
    )


def test_expected_best_is_exact_at_its_ends():
    values = np.random.default_rng(0).normal(size=600)
    expected = estimate_expected_best(values.tolist())
    assert expected[0] == pytest.approx(values.mean())
    assert expected[-1] == values.max()
    assert (np.diff(expected) >= 0).all()


def test_first_configuration_is_in_every_budget():
    curve = estimate_best_so_far(log_of((0.6, *VALUES)))
    floored = [max(0.6, value) for value in VALUES]
    assert curve[0] == 0.6
    assert curve[1:] == pytest.approx([mean_of_maxima(floored, n) for n in range(1, 6)])
    assert estimate_best_so_far(log_of((0.9, *VALUES))) == pytest.approx(np.full(6, 0.9))


def test_tpe_curve_keeps_the_order():
    assert estimate_best_so_far(log_of(VALUES, "tpe")).tolist() == [0.61, 0.7, 0.7, 0.7, 0.7]


def test_exhausted_space_gives_a_flat_curve():
    assert estimate_best_so_far(log_of(VALUES, budget=8))[4:] == pytest.approx([0.7] * 4)


def test_failed_configurations_count_as_worst():
    curve = estimate_best_so_far(log_of((0.6, None, 0.7)))
    assert curve == pytest.approx([0.6, (0.6 + 0.7) / 2, 0.7])
    curve = estimate_best_so_far(log_of((None, None, 0.7)))
    assert isnan(curve[0])
    assert isnan(curve[1])  # one of the two choices has nothing
    assert curve[2] == pytest.approx(0.7)


def test_ties_keep_the_first_finished_candidate():
    assert find_best_index(log_of((0.6, 0.7, 0.7)).tried) == 1
    assert find_best_index(log_of((0.7, 0.7, 0.1)).tried) == 0
    dropped = SearchCandidate({}, (0.7,), finished=False)
    assert find_best_index([dropped, SearchCandidate({}, (0.7,), finished=True)]) == 1
    broken = SearchCandidate({}, (), finished=False, cause="the loss became nan")
    with pytest.raises(
        TrialError, match=r"none of 2 configurations.*own hyperparameters: the loss became"
    ):
        find_best_index([broken, broken])


def test_search_log_round_trips_json():
    log = log_of((0.6, None, 0.7))
    assert SearchLog.from_json(log.to_json()) == log
    assert (log.epochs, log.winner.numbers) == (4, {"dropout": 0.2})


def arms(*logs):
    raw = {"name": "x", "data": "starter", "grid": [{"features": [["mordred"], ["fingerprint"]]}]}
    raw["search"] = {"budget": 3, "space": {"dropout": {"low": 0, "high": 0.5}}}
    arms = make_plan(check_study(raw, "x")).arms
    return [ArmSearch(arm, (log,)) for arm, log in zip(arms, logs, strict=True)]


def test_reversed_order_is_found():
    one, other = arms(log_of((0.6, 0.6, 0.7)), log_of((0.65, 0.5, 0.5)))
    (crossing,) = find_crossings([one, other])
    assert (crossing.ahead, crossing.behind) == (one, other)
    assert (crossing.before, crossing.after) == pytest.approx((-0.05, 0.05))
    assert not list(find_crossings(arms(log_of((0.6, 0.6, 0.7)), log_of((0.5, 0.5, 0.5)))))


def test_values_at_range_ends_are_counted():
    inside, edge = (0.6, 0.1, 0.7), (0.6, 0.7, 0.1)  # dropout 0.2 and 0.1 of 0 to 0.5
    (arm, _) = arms(log_of(inside), log_of(edge))
    assert arm.at_edge("dropout") == 0
    tried = (
        SearchCandidate({"dropout": 0.3}, (0.6,), True),
        SearchCandidate({"dropout": 0.49}, (0.7,), True),
    )
    (arm, _) = arms(SearchLog("random", 2, "auroc", tried, 1, 1.0), log_of(edge))
    assert arm.at_edge("dropout") == 1
    assert (arm.kept_initial, arm.epochs, arm.gain) == (0, 2, pytest.approx(0.1))
