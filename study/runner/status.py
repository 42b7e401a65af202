"""State of a study: finished, failed and missing trials, and the launch that runs now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from study.config.loading import study_name
from study.errors import StorageError
from study.progress import CountingCallback, Progress
from study.results.study_results import open_study
from study.results.summary import format_failures, traceback_lines
from study.results.versions import name_versions
from study.storage.lock import read_holder
from study.storage.storage import Storage

FILE = "progress.json"


class ProgressFile(CountingCallback):
    """A reporter that hands on how far the launch is.

    Parameters
    ----------
    show : function
        Takes the progress.
    interval : float
        Fewest seconds between two calls while a stage runs.
    """

    def __init__(self, show: Callable[[Progress], None], interval: float = 2.0) -> None:
        super().__init__()
        self._show, self._interval, self._shown = show, interval, -interval

    def stage(self, name: str, total: int) -> None:
        """Begin a stage, and hand it on at once."""
        super().stage(name, total)
        self._hand_on()

    def changed(self) -> None:
        """Hand on the progress if the last time is long enough ago."""
        if time.monotonic() - self._shown >= self._interval:
            self._hand_on()

    def close(self) -> None:
        """Hand on the last state."""
        self._hand_on()

    def _hand_on(self) -> None:
        self._shown = time.monotonic()
        self._show(self.progress)


def state_file(storage: Storage) -> ProgressFile:
    """Return a reporter that writes how far the launch is; a full disk does not stop it."""

    def write(progress: Progress) -> None:
        try:
            storage.write(FILE, json.dumps(asdict(progress)).encode())
        except (StorageError, OSError):  # what counts is the ledger, which names its own trouble
            return

    return ProgressFile(write)


def read_state(storage: Storage) -> Progress | None:
    """Return what a launch wrote last; None if nothing that can be read."""
    try:
        return Progress(**json.loads(storage.read(FILE)))
    except (OSError, StorageError, ValueError, TypeError):
        return None


def format_status(
    source: str, storage: str, *, tracebacks: bool = False, version: str | None = None
) -> tuple[str, bool]:
    """Return how far a study is, and whether every trial of one version has finished.

    Parameters
    ----------
    source : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    tracebacks : bool
        Add the tracebacks of trials that failed unexpectedly.
    version : str, optional
        Words of the version to count; without it the one with most finished trials.

    Raises
    ------
    InputError
        There is no such study, or it has no results of that version.
    """
    folder = Storage(storage).below(study_name(source))
    study = open_study(folder, version)
    trials = {study.data.trial_id(trial) for trial in study.plan.trials()}
    finished = study.ledger.ids() & trials
    failures = study.ledger.failures(trials - finished)
    running = _running_lines(folder)
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
        lines += traceback_lines(failures)
    return "\n".join(lines) + "\n", missing == 0


def _running_lines(storage: Storage) -> list[str]:
    """Say who runs the study and how far the stage is."""
    owner, progress = read_holder(storage), read_state(storage)
    if owner is None:
        return []
    stage = [f"stage:   {progress}"] if progress is not None and progress.stage else []
    return [f"launch:  {owner}", *stage]
