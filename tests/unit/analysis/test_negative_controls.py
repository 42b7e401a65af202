"""Negative controls: seeds, oracle partitions, permuted labels, duplicates, undefined labels."""

import dataclasses

import numpy as np
import pytest

from fusion import FusionError
from fusion.partitions import PartitionContext
from study.analysis.arm_scores import build_arm_scores
from study.analysis.paired import build_macro_weights, estimate_difference, estimate_level
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
    population = draw_population(2000, seed=0)
    draws = simulate_tables(population, request.param, seed=0)
    return [
        (t, [simulate_run(m, t, population, (0, 1), truth=False) for m in MODELS]) for t in draws
    ]


@pytest.mark.parametrize("model", [0, 1])
def test_seeds_of_one_model_do_not_win(null_draws, model):
    counts = count_null_verdicts(null_draws, model, ((0,), (1,)))
    assert counts.pairs == len(null_draws)
    assert counts.claims <= 0.05 * counts.pairs


def context_on(rows, inner=None):
    labels = np.zeros((len(rows), 3), dtype=np.uint8)
    auroc = None if inner is None else np.full((2, 3), 0.5)
    return PartitionContext(("a", "b"), labels, rows, 0, auroc, inner)


def test_oracle_partition_is_rejected():
    training, test = np.arange(10), np.arange(10, 15)
    assert context_on(training, inner=training).check_no_test_rows(test).n_labels == 3
    with pytest.raises(FusionError, match=r"oracle partition is refused.*first row 10"):
        context_on(training, inner=test)
    with pytest.raises(FusionError, match=r"oracle partition is refused.*first row 9"):
        context_on(training).check_no_test_rows(np.arange(9, 15))


def test_partition_never_uses_the_test_fold(launched):
    study, record, _ = launched
    trial = next(t for t in study.plan.trials() if t.arm.technique == "label_balancer")
    labels, fold = record.data.dataset.labels, record.data.fold(trial)
    train, test = (LabeledRows(rows, labels[rows]) for rows in (fold.train(1.0), fold.test))
    branches = dict.fromkeys(feature.module_name for feature in trial.arm.features)
    assert partition_context(trial, branches, record.data, train, train).k == 2
    with pytest.raises(FusionError, match=r"oracle partition is refused"):
        partition_context(trial, branches, record.data, test, train)
    with pytest.raises(InputError, match="is in the test fold"):
        partition_context(trial, branches, record.data, train, test)


def test_permuted_labels_cannot_be_ranked():
    population = draw_population(2000, seed=0, permuted=0.5)
    names = population.dataset.label_names
    permuted = np.array([name.startswith("permuted") for name in names])
    for table in simulate_tables(population, 5, seed=0):
        groups = table.split.groups
        run = simulate_run(SimulatedModel(128), table, population, (0,), truth=False)
        arm = build_arm_scores(run.results, len(groups), groups=groups)
        level, se = estimate_level(arm, groups, permuted / permuted.sum())
        assert abs(level.mean - 0.5) < 3 * se
        real, se = estimate_level(arm, groups, ~permuted / (~permuted).sum())
        assert real.mean - 0.5 > 3 * se  # the others can


def test_duplicates_across_folds_are_rejected():
    population = draw_population(600, seed=0)
    split = population.sample_table(0, 300, seed=0).split
    twins = np.arange(len(split.groups))
    twins[split.folds[0].test[0]] = twins[split.folds[1].test[0]]
    with pytest.raises(InputError, match="fold 0: test and training rows share group"):
        dataclasses.replace(split, groups=twins)
    with pytest.raises(InputError, match="appears more than once"):
        dataclasses.replace(population.dataset, smiles=(population.dataset.smiles[0],) * 600)


def test_undefined_label_is_nan_and_not_resolvable():
    population = draw_population(600, seed=0)
    table = population.sample_table(0, 300, seed=0)
    results = list(simulate_run(SimulatedModel(8), table, population, (0,)).results)
    truth = results[0].test_labels.copy()
    truth[:, 4] = 0  # no positive of this label in the first fold
    results[0] = dataclasses.replace(results[0], test_labels=truth)
    mean = macro_mean(results[0].auroc)
    assert (np.isnan(mean.value), mean.undefined) == (True, 1)
    arm = build_arm_scores(results, 300)
    difference = estimate_difference(arm, arm, table.split.groups, build_macro_weights(20))
    assert np.isnan([arm.auroc[0, 4], arm.average_precision[0, 4], arm.level, difference.p]).all()
    assert judge(difference, difference.p).kind is VerdictKind.NOT_RESOLVABLE
