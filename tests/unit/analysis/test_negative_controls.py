"""Five studies in which there is nothing to find, or that must not be: what the platform says."""

import dataclasses

import numpy as np
import pytest

from fusion import FusionError
from fusion.partitions import PartitionContext
from study.analysis.arm_scores import build_arm_scores
from study.analysis.paired import estimate_difference, estimate_level, macro_weights
from study.analysis.verdicts import VerdictKind, judge
from study.calibration.calibration import MODELS, count_null_verdicts, simulate_tables
from study.calibration.simulation import SimulatedModel, draw_population, simulate_run
from study.errors import InputError
from study.metrics import macro_mean
from study.training.model import partition_context
from study.training.supervised import LabeledRows


@pytest.fixture(scope="module", params=[20, pytest.param(100, marks=pytest.mark.slow)])
def null_draws(request):
    """Tables, and both models with two seeds on each."""
    people = draw_population(2000, seed=0)
    draws = simulate_tables(people, request.param, seed=0)
    return [(t, [simulate_run(m, t, people, (0, 1), truth=False) for m in MODELS]) for t in draws]


@pytest.mark.parametrize("model", [0, 1])
def test_two_seeds_of_one_model_do_not_win(null_draws, model):
    found = count_null_verdicts(null_draws, model, ((0,), (1,)))
    assert found.pairs == len(null_draws)
    assert found.claims <= 0.05 * found.pairs


def context_on(rows, inner=None):
    labels = np.zeros((len(rows), 3), dtype=np.uint8)
    auroc = None if inner is None else np.full((2, 3), 0.5)
    return PartitionContext(("a", "b"), labels, rows, 0, auroc, inner)


def test_a_partition_that_knows_test_rows_is_refused():
    training, test = np.arange(10), np.arange(10, 15)
    assert context_on(training, inner=training).keep_from(test).n_labels == 3
    with pytest.raises(FusionError, match=r"oracle partition is refused.*first row 10"):
        context_on(training, inner=test)
    with pytest.raises(FusionError, match=r"oracle partition is refused.*first row 9"):
        context_on(training).keep_from(np.arange(9, 15))


def test_a_trial_refuses_to_choose_a_partition_on_its_test_fold(launched):
    study, record, _ = launched
    trial = next(t for t in study.plan.trials() if t.arm.technique == "label_balancer")
    labels, fold = record.data.dataset.labels, record.data.fold(trial)
    train, test = (LabeledRows(rows, labels[rows]) for rows in (fold.train(1.0), fold.test))
    branches = dict.fromkeys(feature.slot for feature in trial.arm.features)
    assert partition_context(trial, branches, record.data, train, train).k == 2
    with pytest.raises(FusionError, match=r"oracle partition is refused"):
        partition_context(trial, branches, record.data, test, train)
    with pytest.raises(InputError, match="is in the test fold"):
        partition_context(trial, branches, record.data, train, test)


def test_permuted_labels_cannot_be_ranked():
    people = draw_population(2000, seed=0, permuted=0.5)
    names = people.dataset.label_names
    permuted = np.array([name.startswith("permuted") for name in names])
    for table in simulate_tables(people, 5, seed=0):
        groups = table.split.groups
        run = simulate_run(SimulatedModel(128), table, people, (0,), truth=False)
        arm = build_arm_scores(run.results, len(groups), groups=groups)
        found, se = estimate_level(arm, groups, permuted / permuted.sum())
        assert abs(found.mean - 0.5) < 3 * se
        real, se = estimate_level(arm, groups, ~permuted / (~permuted).sum())
        assert real.mean - 0.5 > 3 * se  # the others can


def test_a_duplicate_across_folds_is_an_error():
    people = draw_population(600, seed=0)
    split = people.table(0, 300, seed=0).split
    twins = np.arange(len(split.groups))
    twins[split.folds[0].test[0]] = twins[split.folds[1].test[0]]
    with pytest.raises(InputError, match="fold 0: test and training rows share group"):
        dataclasses.replace(split, groups=twins)
    with pytest.raises(InputError, match="appears more than once"):
        dataclasses.replace(people.dataset, smiles=(people.dataset.smiles[0],) * 600)


def test_an_undefined_label_is_nan_and_loud():
    people = draw_population(600, seed=0)
    table = people.table(0, 300, seed=0)
    results = list(simulate_run(SimulatedModel(8), table, people, (0,)).results)
    truth = results[0].test_labels.copy()
    truth[:, 4] = 0  # no positive of this label in the first fold
    results[0] = dataclasses.replace(results[0], test_labels=truth)
    mean = macro_mean(results[0].auroc)
    assert (np.isnan(mean.value), mean.undefined) == (True, 1)
    arm = build_arm_scores(results, 300)
    found = estimate_difference(arm, arm, table.split.groups, macro_weights(20))
    assert np.isnan([arm.auroc[0, 4], arm.average_precision[0, 4], arm.level, found.p]).all()
    assert judge(found, found.p).kind is VerdictKind.NOT_RESOLVABLE
