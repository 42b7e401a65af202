"""Write the tracking pages of a launched study from its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.config.loading import study_name
from study.results.study_results import ResultSnapshot, load_snapshot
from study.storage.lock import StudyLock
from study.storage.storage import Storage
from study.tracking.open import build_store

if TYPE_CHECKING:
    from study.tracking.mlflow_store import MLflowStore


def sync_study(
    source: str,
    storage: str,
    tracking: str | None,
    *,
    anew: bool = False,
    wait: bool = False,
    version: str | None = None,
) -> tuple[str, bool]:
    """Bring the pages of a study up to date; return a message, and whether the study is complete.

    Pages of other versions than the selected one are not changed.

    Parameters
    ----------
    source : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    tracking : str or None
        Address of the tracking store. Default: that of the launch, otherwise the study's storage.
    anew : bool
        Delete the study's pages first, for pages that are up to date but have lost artifacts.
    wait : bool
        Wait while a launch of the study runs. Default: refuse, since it writes the pages itself.
    version : str, optional
        Name of the version whose pages are written. Default: the one with most finished trials.

    Raises
    ------
    InputError
        There is no such study, no such store, or no results of that version.
    LockedError
        A launch of the study runs.
    TrackingError
        The store failed.
    """
    folder = Storage(storage).subfolder(study_name(source))
    results = load_snapshot(folder, version)  # before the lock, which creates the folder
    store = _open_store(results, storage, tracking)
    with StudyLock(folder).hold(wait=wait):
        results = load_snapshot(folder, version)
        if anew:
            store.clear(results)
        written = store.sync(results)
    arms = len(results.summaries)
    text = f"{written} of {arms} pages written, {arms - written} up to date: {store.uri}\n"
    text += "".join(f"{line}\n" for line in results.version_lines)
    return text, results.missing == 0


def _open_store(results: ResultSnapshot, storage: str, tracking: str | None) -> MLflowStore:
    run = results.spec.run.model_copy(update={"storage": storage})
    return build_store(run if tracking is None else run.model_copy(update={"tracking": tracking}))
