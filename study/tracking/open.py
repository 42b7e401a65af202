"""Open the tracking store of a study: a configured one, or the database in its storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.config.redaction import redact
from study.config.study import RunConfig
from study.errors import InputError, TrackingError
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


@dataclass(frozen=True)
class PagesLocation:
    """Where the tracking pages of a study are.

    Attributes
    ----------
    uri : str
        Tracking store, without passwords and tokens.
    experiment : str or None
        Id of the experiment of the study in MLflow; None if the store does not answer, so that it
        may have pages or not.
    """

    uri: str
    experiment: str | None


def find_pages(run: RunConfig, storage: str, name: str) -> PagesLocation | None:
    """Return where the tracking pages of a study are; None if it has none."""
    try:
        store = _open_existing_store(run, storage, None)
        experiment = store.find_pages(name) if store is not None else None
    except (InputError, TrackingError):
        return PagesLocation(tracking_address(run, storage) or "", None)
    return PagesLocation(store.uri, experiment) if store is not None and experiment else None


def tracking_address(run: RunConfig, storage: str) -> str | None:
    """Return the address of the tracking store of a study, without secrets; None if there is none.

    The store is not opened: it need not answer.
    """
    uri = _existing_uri(run, storage, None)
    return None if uri is None else redact(uri)


def _existing_uri(run: RunConfig, storage: str, tracking: str | None) -> str | None:
    """Return the store named by `tracking` or the run section, else the storage's database."""
    uri, database = tracking or run.tracking, local_folder(Storage(storage)) / "mlflow.db"
    return uri or (f"sqlite:///{database}" if database.is_file() else None)


def _open_existing_store(run: RunConfig, storage: str, tracking: str | None) -> MLflowStore | None:
    """Open the store named by `tracking` or the run section, else the storage's database.

    None if no store is named and the storage has no database.
    """
    uri = _existing_uri(run, storage, tracking)
    return None if uri is None else open_store(uri, local_folder(Storage(storage)))


def open_store(uri: str, root: Path) -> MLflowStore:
    """Open a tracking store; new experiments of a database store their artifacts in `root`."""
    from study.tracking.mlflow_store import MLflowStore

    return MLflowStore(uri, str(root / "artifacts"))
