"""The pages of a launched study, written from its ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.config.loading import study_name
from study.results.study_results import StudyResults, load_results
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
    """Bring the pages of a study up; return what to print, and whether the study is complete.

    Pages of other versions than the one chosen are left as they are.

    Parameters
    ----------
    source : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    tracking : str or None
        Where the pages are; by default where the study was launched with, else in its storage.
    anew : bool
        Remove its pages first: for artifacts that were lost behind pages that are up to date.
    wait : bool
        Wait while a launch of the study runs; otherwise refuse, for it writes the pages itself.
    version : str, optional
        Words of the version whose pages are written; without it the one with most finished
        trials.

    Raises
    ------
    InputError
        There is no such study, no such store, or no results of that version.
    LockedError
        A launch of the study runs.
    PagesError
        The store broke down.
    """
    folder = Storage(storage).below(study_name(source))
    record = load_results(folder, version)  # before the lock, which would make the folder
    tracker = _tracker(record, storage, tracking)
    with StudyLock(folder).held(wait=wait):
        record = load_results(folder, version)
        if anew:
            tracker.clear(record)
        written = tracker.sync(record)
    arms = len(record.summaries)
    text = f"{written} of {arms} pages written, {arms - written} up to date: {tracker.uri}\n"
    text += "".join(f"{line}\n" for line in record.version_lines)
    return text, record.missing == 0


def _tracker(record: StudyResults, storage: str, tracking: str | None) -> MLflowStore:
    run = record.spec.run.model_copy(update={"storage": storage})
    return build_store(run if tracking is None else run.model_copy(update={"tracking": tracking}))
