"""A tracking database to copy, and the environment of a user who launches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from study.tracking.mlflow_store import MLflowStore


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its schema takes seconds."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    MLflowStore(f"sqlite:///{file}", str(file.parent / "artifacts"))
    return file


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home without any settings; token mode asked for."""
    home = str(tmp_path_factory.mktemp("home"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "TUNE_"))}
    return {**kept, "HOME": home, "RAY_AUTH_MODE": "token", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def study_command() -> list[str]:
    return [sys.executable, "-m", "study"]
