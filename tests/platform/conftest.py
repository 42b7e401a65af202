"""One local Ray, one tracking database to copy, and a tiny study, shared by the tests here."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracking_pages import Pages

from study.config.loading import check_study
from study.config.study import StudySpec
from study.executors.base import LocalExecutor
from study.executors.ray import RayExecutor
from study.progress import ProgressCallback
from study.results.ledger import Failure
from study.results.study_results import StudyResults
from study.runner.launcher import launch
from study.runner.prepare import Prepared, prepare, write_study_folder
from study.tracking.mlflow_store import MLflowStore

HERE = Path(__file__).parent

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

TINY = {
    "name": "tiny",
    "description": "simulated, seconds",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "grid": [
        {"features": [["fingerprint"]]},
        {
            "features": [["descriptors", "fingerprint"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
        },
    ],
    "modalities": {"descriptors": {"modality": "fingerprint", "radius": 1}},
    "training": {"epochs": 2, "patience": 2, "epoch_steps": 1, "hidden": [8]},
}


@pytest.fixture(scope="module")
def python_path() -> Iterator[None]:
    """Let worker processes import the task module of these tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def cluster(python_path: None) -> Iterator[RayExecutor]:
    """A local Ray, which ends with the tests of a file."""
    executor = RayExecutor("local")
    yield executor
    executor.close()


@pytest.fixture(scope="session")
def tiny_study() -> dict[str, object]:
    """The content of a study file."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path) -> StudySpec:
    return check_study({**TINY, "run": {"storage": str(tmp_path / "store")}}, "tiny")


@pytest.fixture
def study(tiny: StudySpec) -> Prepared:
    made = prepare(tiny)
    write_study_folder(made)
    return made


@pytest.fixture(scope="session")
def study_command() -> list[str]:
    return [sys.executable, "-m", "study"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its schema takes seconds."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MLflowStore(f"sqlite:///{file}", str(file.parent / "artifacts"))
    return file


@pytest.fixture
def tracker(database: Path, tmp_path: Path) -> MLflowStore:
    shutil.copy(database, tmp_path / "mlflow.db")
    return MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory, tiny_study: dict[str, object]) -> StudyResults:
    """A finished study, run once in this process."""
    store = str(tmp_path_factory.mktemp("store"))
    study = prepare(check_study({**tiny_study, "run": {"storage": store}}, "tiny"))
    write_study_folder(study)
    return launch(study, LocalExecutor(), None, ProgressCallback())


@pytest.fixture
def partial(record: StudyResults) -> StudyResults:
    """The study before its balancer had finished: one fold missing with a cause."""
    arm = next(c for c in record.plan.arms if c.technique == "label_balancer")
    trial = list(record.plan.trials_of(arm))[1]
    lost = record.inputs.trial_id(trial)
    results = {key: result for key, result in record.results.items() if key != lost}
    failure = Failure(lost, str(trial), "TrialError: the training loss became nan in epoch 3")
    return StudyResults(record.spec, record.plan, record.inputs, results, (failure,))


@pytest.fixture
def pages(tracker: MLflowStore) -> Pages:
    return Pages(tracker)


@pytest.fixture(scope="session")
def run_study(study_command: list[str]) -> Run:
    """Start the command line with these arguments."""

    def run(*arguments: str) -> Done:
        command = [*study_command, *arguments]
        environment = {**os.environ, "COLUMNS": "250"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart") / "studies"


@pytest.fixture(scope="session")
def launched(run_study: Run, store: Path) -> Done:
    return run_study("launch", "quickstart", "--storage", str(store))


@pytest.fixture(scope="session")
def rows(launched: Done, run_study: Run, store: Path) -> list[dict[str, str]]:
    """The comparison of the launched study."""
    done = run_study("compare", "quickstart", "--storage", str(store), "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(done.stdout)))
