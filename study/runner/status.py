"""Status of a study: finished, failed and missing trials, and the progress of a running launch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from study.artifacts.study_folder import NAME, PROGRESS
from study.config.loading import study_name
from study.errors import StorageError
from study.progress import CountingCallback, Progress
from study.results.study_results import open_study
from study.results.summary import format_failures, format_tracebacks
from study.results.versions import name_versions
from study.storage.lock import read_holder
from study.storage.storage import Storage

_WRITTEN = "written"
"""Key of the time at which the progress was written, in UTC."""


class ProgressFile(CountingCallback):
    """A progress callback that passes the progress to a function, at most every few seconds.

    Parameters
    ----------
    write : function
        Called with the progress.
    interval : float
        Fewest seconds between two calls while a stage runs.
    """

    def __init__(self, write: Callable[[Progress], None], interval: float = 2.0) -> None:
        super().__init__()
        self._write, self._interval, self._written = write, interval, -interval

    def stage(self, name: str, total: int) -> None:
        """Begin a stage, and write the progress at once."""
        super().stage(name, total)
        self._write_now()

    def changed(self) -> None:
        """Write the progress if the interval has passed."""
        if time.monotonic() - self._written >= self._interval:
            self._write_now()

    def close(self) -> None:
        """Write the final progress."""
        self._write_now()

    def _write_now(self) -> None:
        self._written = time.monotonic()
        self._write(self.progress)


def build_progress_file(storage: Storage) -> ProgressFile:
    """Return a callback that writes the progress to a file; a full disk does not stop a launch."""

    def write(progress: Progress) -> None:
        try:
            value = {**asdict(progress), _WRITTEN: datetime.now(UTC).isoformat(timespec="seconds")}
            storage.write(PROGRESS, json.dumps(value).encode())
        except (StorageError, OSError):  # the ledger matters, and reports its own errors
            return

    return ProgressFile(write)


def read_progress(storage: Storage) -> Progress | None:
    """Return the progress that a launch wrote last; None if there is none or it is damaged."""
    try:
        value = dict(json.loads(storage.read(PROGRESS)))
        value.pop(_WRITTEN, None)
        return Progress(**value)
    except (OSError, StorageError, ValueError, TypeError):
        return None


def read_last_run(storage: Storage) -> datetime | None:
    """Return when a launch of the study was last seen to run, in UTC; None if that is unknown.

    Earlier versions did not write the time into the progress file: then it is that of the file.
    """
    try:
        text = dict(json.loads(storage.read(PROGRESS)))[_WRITTEN]
        return datetime.fromisoformat(text)
    except (OSError, StorageError, ValueError, TypeError, KeyError):
        return storage.modified(PROGRESS) or storage.modified(NAME)


def format_status(
    source: str, storage: str, *, tracebacks: bool = False, version: str | None = None
) -> tuple[str, bool]:
    """Return a text with the status of a study, and whether all trials of a version have finished.

    Parameters
    ----------
    source : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    tracebacks : bool
        Add the tracebacks of trials that failed unexpectedly.
    version : str, optional
        Name of the version to count. Default: the one with most finished trials.

    Raises
    ------
    InputError
        There is no such study, or it has no results of that version.
    """
    folder = Storage(storage).subfolder(study_name(source))
    study = open_study(folder, version)
    trials = {study.data.trial_id(trial) for trial in study.plan.trials()}
    finished = study.ledger.ids() & trials
    failures = study.ledger.failures(trials - finished)
    running = _format_running_launch(folder)
    missing = len(trials) - len(finished)
    counts = f"{len(finished)} of {len(trials)} trials finished"
    lines = [
        f"{study.spec.name}: {counts}, {len(failures)} failed"
        if failures
        else f"{study.spec.name}: {counts}",
        *name_versions(study.versions),
        *(running or ["no launch is running"]),
        *format_failures(failures),
    ]
    if missing and not running:
        lines.append(f"{missing} trials are missing; launch the study again to run them")
    if tracebacks:
        lines += format_tracebacks(failures)
    return "\n".join(lines) + "\n", missing == 0


def _format_running_launch(storage: Storage) -> list[str]:
    """Return lines about the running launch and its stage; none if no launch is running."""
    owner, progress = read_holder(storage), read_progress(storage)
    if owner is None:
        return []
    stage = [f"stage:   {progress}"] if progress is not None and progress.stage else []
    return [f"launch:  {owner}", *stage]
