"""Where the pages of a study are: the tracking store of a run, or the one of its storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.config.study import RunConfig
from study.results.study_results import StudyResults
from study.storage.mirror import local_folder
from study.storage.storage import Storage

if TYPE_CHECKING:
    from study.tracking.mlflow_store import MLflowStore


def build_store(run: RunConfig) -> MLflowStore:
    """Return the pages of a run: where it says, else a database in its storage."""
    root = local_folder(Storage(run.storage))
    return open_tracker(run.tracking or f"sqlite:///{root / 'mlflow.db'}", root)


def open_report_keeper(
    storage: str, tracking: str | None
) -> Callable[[StudyResults, Path], list[str]]:
    """Return what keeps a report on the tracking page of its study, if it has one."""

    def keep(record: StudyResults, folder: Path) -> list[str]:
        tracker = _existing_tracker(record.spec.run, storage, tracking)
        if tracker is None:
            return []
        tracker.report(record, folder)
        return [f"kept:    on the page of '{record.spec.name}' in {tracker.uri}"]

    return keep


def _existing_tracker(run: RunConfig, storage: str, tracking: str | None) -> MLflowStore | None:
    """Return the pages where a study is shown already: those named, else its storage's."""
    root = local_folder(Storage(storage))
    named = tracking or run.tracking
    if named is None and not (root / "mlflow.db").is_file():
        return None
    return open_tracker(named or f"sqlite:///{root / 'mlflow.db'}", root)


def open_tracker(uri: str, root: Path) -> MLflowStore:
    """Return the pages of a store; a new experiment of a database keeps its files in `root`."""
    from study.tracking.mlflow_store import MLflowStore

    return MLflowStore(uri, str(root / "artifacts"))
