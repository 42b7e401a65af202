"""One local Ray, one tracking database to copy, and a tiny study, shared by the tests here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking_pages import Pages

from study.cluster import RayExecutor
from study.executor import Inline
from study.launch import launch
from study.ledger import Failure
from study.prepare import Prepared, lay_out, prepare
from study.progress import Silent
from study.reading import check_study
from study.record import StudyRecord
from study.spec import StudySpec
from study.tracking import Tracker

HERE = Path(__file__).parent

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
    "training": {"epochs": 2, "patience": 2, "hidden": [8]},
}


@pytest.fixture(scope="session")
def python_path() -> Iterator[None]:
    """Let worker processes import the task module of these tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="session")
def cluster(python_path: None) -> Iterator[RayExecutor]:
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
    lay_out(made)
    return made


@pytest.fixture(scope="session")
def study_command() -> list[str]:
    return [sys.executable, "-m", "study"]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its schema takes seconds."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    Tracker(f"sqlite:///{file}", str(file.parent / "artifacts"))
    return file


@pytest.fixture
def tracker(database: Path, tmp_path: Path) -> Tracker:
    shutil.copy(database, tmp_path / "mlflow.db")
    return Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts"))


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory, tiny_study: dict[str, object]) -> StudyRecord:
    """A finished study, run once in this process."""
    store = str(tmp_path_factory.mktemp("store"))
    study = prepare(check_study({**tiny_study, "run": {"storage": store}}, "tiny"))
    lay_out(study)
    return launch(study, Inline(), None, Silent())


@pytest.fixture
def partial(record: StudyRecord) -> StudyRecord:
    """The study before its balancer had finished: one fold missing with a cause."""
    cell = next(c for c in record.plan.cells if c.technique == "label_balancer")
    trial = list(record.plan.trials_of(cell))[1]
    lost = record.inputs.trial_id(trial)
    results = {key: result for key, result in record.results.items() if key != lost}
    failure = Failure(lost, str(trial), "TrialError: the training loss became nan in epoch 3")
    return StudyRecord(record.spec, record.plan, record.inputs, results, (failure,))


@pytest.fixture
def pages(tracker: Tracker) -> Pages:
    return Pages(tracker)
