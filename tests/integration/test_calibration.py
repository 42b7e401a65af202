"""The calibration: what it counts, and that it would notice a wrong standard error."""

import dataclasses

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from study.calibration.calibration import (
    MODELS,
    count_null_verdicts,
    measure_coverage,
    simulate_tables,
)
from study.calibration.simulation import draw_population, simulate_run
from study.cli.analysis import calibrate
from study.metrics import auroc

TABLES = 24


@pytest.fixture(scope="module")
def people():
    return draw_population(2000, seed=1)


@pytest.fixture(scope="module")
def draws(people):
    return [
        (table, [simulate_run(model, table, people, (0, 1)) for model in MODELS])
        for table in simulate_tables(people, TABLES, seed=1)
    ]


def test_a_table_is_split_by_whole_mirror_pairs(people):
    table = people.sample_table(0, 300, seed=1)
    assert len(table.rows) == 300
    twins = people.groups[table.rows]
    assert np.unique(twins, return_counts=True)[1].tolist() == [2] * 150
    same = table.split.groups[:, None] == table.split.groups
    np.testing.assert_array_equal(same, twins[:, None] == twins)
    assert not np.array_equal(table.rows, people.sample_table(1, 300, seed=1).rows)


def test_the_truth_is_measured_outside_the_table(people, draws):
    table, runs = draws[0]
    outside = np.setdiff1d(np.arange(2000), table.rows)
    levels = []
    for fold in table.split.folds:
        fit = table.rows[fold.train(1.0)]
        place = fold.index * 10_000 + MODELS[0].width  # of the first table and seed
        scores = MODELS[0].fit_scores(people.counts, people.dataset.labels, fit, place)
        levels.append(auroc(people.dataset.labels[outside], scores[outside]).mean())
    assert runs[0].truth[0] == pytest.approx(np.mean(levels))


def test_intervals_hold_the_truth(draws):
    found = measure_coverage(draws, (0,))
    assert found.tables == TABLES
    assert found.truth > 5 * found.truth_se > 0  # more features are better
    assert min(found.held, found.held_trained, found.held_corrected) >= 20  # 22.8 expected


def test_a_model_that_always_claims_would_be_noticed(draws):
    """The same pairs with the second seed's scores made worse: now they must be told apart."""
    rng = np.random.default_rng(0)
    worse = [(table, [spoiled(run, rng) for run in runs]) for table, runs in draws]
    fair, foul = (count_null_verdicts(each, 0, ((0,), (1,))) for each in (draws, worse))
    assert fair.pairs == foul.pairs == TABLES
    assert fair.claims <= 3
    assert foul.claims >= 22


def spoiled(run, rng):
    def spoil(result):
        noise = rng.normal(size=result.scores.shape).astype(np.float32)
        return dataclasses.replace(result, scores=noise)

    second = {id(result) for result in run.with_seeds((1,))}
    return dataclasses.replace(
        run, results=tuple(spoil(r) if id(r) in second else r for r in run.results)
    )


def test_the_command_prints_counts():
    app = Typer()
    app.command()(calibrate)
    shown = CliRunner().invoke(app, ["--pairs", "2"])
    assert shown.exit_code == 0, shown.output
    rows = [line.split("|")[1:-1] for line in shown.output.splitlines() if line.startswith("| ")]
    null, held = rows[1:5], rows[6:]
    assert [[int(arm) for arm in row[:3]] for row in null] == [
        [width, seeds, 2] for width in (128, 24) for seeds in (1, 2)
    ]
    for row in null:
        assert sum(int(arm) for arm in row[4:9]) == 2
        assert int(row[3]) == int(row[4]) + int(row[5])
    assert [row[1].strip() for row in held] == ["2", "2"]
