"""A launch ends at its budget, says so, and the next one goes on."""

import pytest

from study.config.loading import check_study
from study.config.study import BudgetConfig, BudgetMeter
from study.errors import InputError
from study.executors.base import LocalExecutor
from study.progress import ProgressCallback
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder


@pytest.fixture
def launch_with(tiny, tmp_path, launched):
    """Launch the tiny study with a budget; -> record and what was said."""
    told_class = type(launched[2])

    def run(**budget):
        run_section = {"storage": str(tmp_path), "budget": budget}
        study = prepare(check_study({**tiny, "run": run_section}, "tiny.yaml"))
        write_study_folder(study)
        told = told_class()
        return launch(study, LocalExecutor(), None, told), told.notes

    return run


def test_a_budget_of_trials_is_spent_and_no_more(launch_with):
    record, notes = launch_with(trials=3)
    assert len(record.by_id) == 3
    assert record.failures == ()  # what is missing has not failed
    assert notes[-1].startswith("run.budget.trials: 3 is reached, 8 were missing: no more trials")
    again, _ = launch_with(trials=3)
    assert len(again.by_id) == 6
    whole, notes = launch_with()
    assert whole.missing == 0
    assert notes == ["10 trials, 6 already in the ledger"]


@pytest.mark.parametrize("kind", ["hours", "cpu_hours"])
def test_a_budget_of_time_begins_nothing_more(launch_with, kind):
    record, notes = launch_with(**{kind: 1e-6})
    assert record.missing > 0
    assert record.failures == ()
    assert f"run.budget.{kind}: 1e-06 is reached" in notes[-1]


def test_a_meter_counts_reserved_machines():
    meter = BudgetMeter(BudgetConfig(cpu_hours=1, gpu_hours=0.5))
    meter.spend(1_000, cpus=2, gpus=1)
    assert meter.reached == ""
    meter.spend(800, cpus=2, gpus=1)
    assert meter.reached == "run.budget.cpu_hours: 1 is reached after 60 min of CPUs"
    assert BudgetMeter(BudgetConfig(gpu_hours=0.5)).reached == ""


@pytest.mark.parametrize("budget", [{"trials": 0}, {"hours": -1}, {"minutes": 3}])
def test_a_budget_that_is_none_is_refused(tiny, budget):
    with pytest.raises(InputError, match=r"run\.budget"):
        check_study({**tiny, "run": {"budget": budget}}, "tiny.yaml")


def test_a_trial_that_takes_too_long_fails_with_its_cause(tiny, tmp_path, run_tiny, spec_of):
    """Without Ray too: in this process."""
    tiny["training"] |= {"epochs": 100_000, "patience": 100_000}
    study = prepare(spec_of({**tiny, "grid": [{"features": [["counts"]]}]}, tmp_path))
    write_study_folder(study)
    record = launch(study, LocalExecutor(0.5), None, ProgressCallback())
    assert len(record.failures) == 2
    assert "run.time_limit" in record.failures[0].cause
