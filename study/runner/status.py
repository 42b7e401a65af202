"""Status of a study: finished, failed and missing trials, and the progress of a running launch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from study.config.loading import study_name
from study.errors import StorageError
from study.progress import CountingCallback, Progress
from study.results.study_results import open_study
from study.results.summary import format_failures, format_tracebacks
from study.results.versions import name_versions
from study.storage.lock import read_holder
from study.storage.storage import Storage

FILE = "progress.json"


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
            storage.write(FILE, json.dumps(asdict(progress)).encode())
        except (StorageError, OSError):  # the ledger matters, and reports its own errors
            return

    return ProgressFile(write)


def read_progress(storage: Storage) -> Progress | None:
    """Return the progress that a launch wrote last; None if there is none or it is damaged."""
    try:
        return Progress(**json.loads(storage.read(FILE)))
    except (OSError, StorageError, ValueError, TypeError):
        return None


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
