"""The shipped search from end to end, its report and its comparison."""

import pytest

from study.analysis.arm_scores import build_score_pool
from study.analysis.comparison import compare_arms
from study.analysis.search_sensitivity import estimate_best_so_far
from study.analysis.study_analysis import StudyAnalysis
from study.config.loading import read_study
from study.planning.contrasts import build_default_contrasts
from study.preview.text import format_plan
from study.reporting.context import ReportContext
from study.reporting.document import Bullets, Prose
from study.reporting.sections import search
from study.results.study_results import load_snapshot


@pytest.fixture(scope="module")
def searched(run_tiny, tmp_path_factory):
    """The shipped preset with a smaller budget, launched; read only."""
    folder = tmp_path_factory.mktemp("searched")
    spec = read_study("search", [f"run.storage={folder}", "search.budget=4", "training.epochs=4"])
    study, results, _ = run_tiny(spec)
    return study, results


@pytest.fixture(scope="module")
def context(searched):
    results = searched[1]
    return ReportContext(StudyAnalysis(results, build_default_contrasts(results.plan.arms)))


def test_shipped_search_finishes_in_every_trial(searched):
    study, results = searched
    assert (results.missing, results.failures) == (0, ())
    for result in results.by_id.values():
        average = result.spec.arm.technique == "independent_mean"
        assert (result.search is None) == average
    again = load_snapshot(study.folder)
    assert again.by_id.keys() == results.by_id.keys()


def test_plan_shows_the_cost_of_the_search():
    text = format_plan(read_study("search"))
    assert "fits      108 heads to train; 3 averages of members" in text  # 4 arms, 3 folds, 8 + 1
    assert "search    random: 8 configurations of learning_rate, weight_decay, dropout, hid" in text
    assert "9.0 trainings a trial" in text
    plain = format_plan(read_study("search", ["search=null"]))
    assert "search    random" not in plain
    assert hours(text) == pytest.approx(9 * hours(plain), rel=0.2)


def hours(text):
    line = next(line for line in text.splitlines() if line.startswith("time"))
    number, unit = line.split("about ")[1].split(" on ")[0].split()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_report_shows_budget_choice_and_sensitivity(context):
    section = search.section(context)
    words = [block for block in section.blocks if isinstance(block, Prose)]
    assert "the same budget, 4 configurations in each trial" in words[0].text
    assert "learning_rate (0.0003 to 0.03, log)" in words[0].text
    tables = {table.name: table.rows for table in section.tables}
    assert {row["configurations"] for row in tables["search"]} == {4}
    assert len(tables["search"]) == 4  # the average searches nothing itself
    assert len(tables["search_chosen"]) == 4 * 4
    (flags,) = [block for block in section.blocks if isinstance(block, Bullets)]
    assert any("order" in item for item in flags.items)
    assert any("independent mean searches nothing" in item for item in flags.items)
    arms = search.read_searches(context)
    for row, arm in zip(tables["search_budget"], arms, strict=True):
        curves = [estimate_best_so_far(log) for log in arm.logs]
        for budget in (1, 2, 4):
            mean = sum(curve[budget - 1] for curve in curves) / 3
            assert row[f"best_{budget}"] == pytest.approx(mean)
        assert row["best_1"] <= row["best_2"] <= row["best_4"]
    (figure,) = section.figures
    assert "with 4 configurations" in figure.description


def test_study_without_search_is_reported(launched):
    results = launched[1]
    section = search.section(
        ReportContext(StudyAnalysis(results, build_default_contrasts(results.plan.arms)))
    )
    assert [type(block) for block in section.blocks] == [Prose]
    assert section.blocks[0].text.startswith("No hyperparameter was searched")


def test_searched_arms_are_compared_like_others(searched):
    rows = compare_arms([build_score_pool(searched[1])])
    assert len(rows) == 5
    assert sum(row.paired is not None for row in rows) == 2
    assert all(row.summary.arm.params()["search"] == "random search of 4" for row in rows)
