"""A tracking database to copy, the command line, one local Ray and the launched quickstart."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking_pages import Pages

from study.config.study import StudySpec
from study.executors.ray import RayExecutor
from study.results.ledger import Failure
from study.results.study_results import ResultSnapshot, Study
from study.runner.prepare import prepare, write_study_folder
from study.tracking.mlflow_store import MLflowStore

HERE = Path(__file__).parent

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def python_path() -> Iterator[None]:
    """Let worker processes import the task module of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def cluster(python_path: None) -> Iterator[RayExecutor]:
    """A local Ray, which ends with the tests of a file."""
    executor = RayExecutor("local")
    yield executor
    executor.close()


@pytest.fixture
def study(
    tiny: dict[str, Any], spec_of: Callable[[dict[str, Any], Path], StudySpec], tmp_path: Path
) -> Study:
    """The tiny study, prepared and laid out, with nothing run."""
    made = prepare(spec_of(tiny, tmp_path / "store"))
    write_study_folder(made)
    return made


@pytest.fixture(scope="session")
def study_command() -> list[str]:
    """The words that start the command line."""
    return [sys.executable, "-m", "study"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its schema takes seconds."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MLflowStore(f"sqlite:///{file}", str(file.parent / "artifacts"))
    return file


@pytest.fixture
def tracker(database: Path, tmp_path: Path) -> MLflowStore:
    """A store of this test alone."""
    shutil.copy(database, tmp_path / "mlflow.db")
    return MLflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))


@pytest.fixture(scope="session")
def record(launched: tuple[Study, ResultSnapshot, object]) -> ResultSnapshot:
    """The results of the tiny study; read only."""
    return launched[1]


@pytest.fixture
def partial(record: ResultSnapshot) -> ResultSnapshot:
    """The study before its balancer had finished: one fold missing with a cause."""
    arm = next(c for c in record.plan.arms if c.technique == "label_balancer")
    trial = list(record.plan.trials_of(arm))[1]
    lost = record.data.trial_id(trial)
    results = {key: result for key, result in record.by_id.items() if key != lost}
    failure = Failure(lost, str(trial), "TrialError: the training loss became nan in epoch 3")
    return ResultSnapshot(record.study, results, (failure,))


@pytest.fixture
def pages(tracker: MLflowStore) -> Pages:
    """What the store shows."""
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
def quickstart_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the quickstart is launched."""
    return tmp_path_factory.mktemp("quickstart") / "studies"


@pytest.fixture(scope="session")
def quickstart(run_study: Run, quickstart_store: Path) -> Done:
    """The launch of the quickstart, ended."""
    return run_study("launch", "quickstart", "--storage", str(quickstart_store))


@pytest.fixture(scope="session")
def quickstart_rows(
    quickstart: Done, run_study: Run, quickstart_store: Path
) -> list[dict[str, str]]:
    """The comparison of the launched quickstart."""
    place = ("--storage", str(quickstart_store), "--format", "csv")
    done = run_study("compare", "quickstart", *place)
    assert (done.returncode, done.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(done.stdout)))
