"""The quickstart as a new user meets it: one command, a table, pages, and nothing to run twice."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.config.loading import read_study
from study.planning.plan import make_plan

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def test_it_finishes_without_a_word_on_standard_error(quickstart: Done) -> None:
    assert (quickstart.returncode, quickstart.stderr) == (0, "")


def test_it_prints_every_arm_and_where_things_are(quickstart: Done, quickstart_store: Path) -> None:
    lines = quickstart.stdout.splitlines()
    for arm in make_plan(read_study("quickstart")).arms:
        words = ["+".join(arm.names), arm.technique]
        assert any(line.split()[:2] == words for line in lines), words
    assert f"results: {quickstart_store / 'ledger'}" in lines
    pages = next(line for line in lines if line.startswith("pages:"))
    assert pages.endswith(
        f"mlflow ui --backend-store-uri sqlite:///{quickstart_store / 'mlflow.db'}"
    )


def test_every_arm_has_learned_something(quickstart_rows: list[dict[str, str]]) -> None:
    """Far from chance, but a floor and no benchmark: the table is small."""
    plan = make_plan(read_study("quickstart"))
    assert {row["trials"] for row in quickstart_rows} == {
        f"{plan.trials_per_arm}/{plan.trials_per_arm}"
    }
    assert min(float(row["auroc"]) for row in quickstart_rows) > 0.55


def test_arms_that_fuse_have_a_gain_against_their_reference(
    quickstart_rows: list[dict[str, str]],
) -> None:
    for row in quickstart_rows:
        compared = row["technique"] in ("label_balancer", "independent_mean")
        assert (row["sparse_gain"] != "") == compared, row


def test_pages_hold_a_run_for_every_arm(quickstart: Done, quickstart_store: Path) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{quickstart_store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("quickstart")
    runs = client.search_runs([experiment.experiment_id])
    roles = [run.data.tags["olfaction.role"] for run in runs]
    assert roles.count("study") == 1
    assert roles.count("cell") == len(make_plan(read_study("quickstart")).arms)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_launching_again_runs_nothing(
    quickstart: Done, run_study: Run, quickstart_store: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (quickstart_store / "ledger").iterdir()}
    again = run_study("launch", "quickstart", "--storage", str(quickstart_store))
    assert (again.returncode, again.stderr) == (0, "")
    assert "to do" not in again.stdout
    assert {
        path: path.stat().st_mtime_ns for path in (quickstart_store / "ledger").iterdir()
    } == before


def test_mlflow_alone_gives_the_same_comparison(
    quickstart_rows: list[dict[str, str]], run_study: Run, quickstart_store: Path
) -> None:
    uri = f"sqlite:///{quickstart_store / 'mlflow.db'}"
    done = run_study("compare", "quickstart", "--tracking-uri", uri, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sorted(map(repr, found)) == sorted(map(repr, quickstart_rows))
