"""One local Ray, one tracking database to copy, and a tiny study, shared by the tests here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.cluster import RayExecutor
from study.prepare import Prepared, lay_out, prepare
from study.reading import check_study
from study.spec import StudySpec

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
