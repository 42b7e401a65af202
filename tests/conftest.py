"""Small studies of generated molecules, shared by the tests of the study."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from study.config.loading import check_study
from study.config.study import StudySpec
from study.executors.base import LocalExecutor
from study.progress import ProgressCallback
from study.results.study_results import ResultSnapshot, Study
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder

pytest_plugins = [  # in `helpers`, which is on the path
    "archive_fixtures",
    "fusion_fixtures",
    "platform_fixtures",
    "storage_fixtures",
]
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")  # a slow moment of the machine is no failure

SIMULATED = {
    "preset": "simulated",
    "sources": [
        {
            "source": "simulated",
            "molecules": 120,
            "labels": 6,
            "stereo": 0.0,
            "permuted": 0.2,
            "skew": 2.0,
        }
    ],
}
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": SIMULATED,
    "split": {"folds": 2, "min_positives": 2},
    "modalities": {
        "counts": {"modality": "fingerprint", "size": 256},
        "characters": {
            "modality": "smiles",
            "layers": 1,
            "width": 8,
            "heads": 2,
            "feedforward": 8,
            "calibration": "frozen",
        },
    },
    "grid": [
        {"features": [["counts"]]},
        {
            "features": [["counts", "characters"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
        },
    ],
    "training": {"epochs": 2, "hidden": [8], "batch_size": 32},
}
"""Four arms and the one that a control adds; the names sort otherwise than the modalities."""


MEANS = {
    "python_path": "ray",
    "quickstart": "ray",
    "disk": "root",
    "real_archive": "archives",
    "address": "slow",
}
"""What a test needs that asks for these fixtures."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures."""
    for item in items:
        for name in MEANS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MEANS[name])


class Notes(ProgressCallback):
    """Remembers what a launch says and how much it did."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: dict[str, int] = {}

    def stage(self, name: str, total: int) -> None:
        self.stages[name] = total

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small tensors: a second thread only waits, for seconds on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_study() -> dict[str, Any]:
    """The content of the tiny study; read only."""
    return TINY


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The content of a study file, to be changed freely."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def spec_of() -> Callable[[dict[str, Any], Path], StudySpec]:
    """Content of a study file and its storage -> the checked study."""

    def make(raw: dict[str, Any], storage: Path) -> StudySpec:
        return check_study({**raw, "run": {"storage": str(storage)}}, "tiny.yaml")

    return make


@pytest.fixture(scope="session")
def run_tiny() -> Callable[[StudySpec], tuple[Study, ResultSnapshot, Notes]]:
    """Prepare, lay out and launch a study in this process."""

    def run(spec: StudySpec) -> tuple[Study, ResultSnapshot, Notes]:
        notes = Notes()
        study = prepare(spec, notes.note)
        for said in write_study_folder(study):
            notes.note(said)
        return study, launch(study, LocalExecutor(), None, notes), notes

    return run


@pytest.fixture(scope="session")
def launched(
    tmp_path_factory: pytest.TempPathFactory,
    spec_of: Callable[..., StudySpec],
    run_tiny: Callable[..., tuple[Study, ResultSnapshot, Notes]],
) -> tuple[Study, ResultSnapshot, Notes]:
    """The tiny study, complete; read only."""
    return run_tiny(spec_of(TINY, tmp_path_factory.mktemp("launched")))
