"""Open the tracking store of a study: a configured one, or the database in its storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.config.study import RunConfig
from study.results.study_results import ResultSnapshot
from study.storage.mirror import local_folder
from study.storage.storage import Storage

if TYPE_CHECKING:
    from study.tracking.mlflow_store import MLflowStore


def build_store(run: RunConfig) -> MLflowStore:
    """Open the tracking store of a run section; default: a database in its storage."""
    root = local_folder(Storage(run.storage))
    return open_store(run.tracking or f"sqlite:///{root / 'mlflow.db'}", root)


def build_report_logger(
    storage: str, tracking: str | None
) -> Callable[[ResultSnapshot, Path], list[str]]:
    """Return a function that logs a report to the tracking page of its study, if there is one.

    The function takes the results and the report's folder, and returns lines to print.
    """

    def log_report(results: ResultSnapshot, folder: Path) -> list[str]:
        store = _open_existing_store(results.spec.run, storage, tracking)
        if store is None:
            return []
        store.store_report(results, folder)
        return [f"kept:    on the page of '{results.spec.name}' in {store.uri}"]

    return log_report


def _open_existing_store(run: RunConfig, storage: str, tracking: str | None) -> MLflowStore | None:
    """Open the store named by `tracking` or the run section, else the storage's database.

    None if no store is named and the storage has no database.
    """
    root = local_folder(Storage(storage))
    uri = tracking or run.tracking
    if uri is None and not (root / "mlflow.db").is_file():
        return None
    return open_store(uri or f"sqlite:///{root / 'mlflow.db'}", root)


def open_store(uri: str, root: Path) -> MLflowStore:
    """Open a tracking store; new experiments of a database store their artifacts in `root`."""
    from study.tracking.mlflow_store import MLflowStore

    return MLflowStore(uri, str(root / "artifacts"))
