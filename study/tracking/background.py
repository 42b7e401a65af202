"""Background synchronization of a running study with its tracking store.

One dedicated thread makes all calls to the tracking store, so a store that is down, slow or
restarted does not delay the driver. Every synchronization starts from the ledger, so the next one
makes up for one that failed. The driver waits only for the last one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from study.errors import StudyError, TrackingError
from study.network import run_in_thread
from study.progress import Progress
from study.results.study_results import ResultSnapshot
from study.tracking.sync import SyncStage

_log = logging.getLogger(__name__)
# Errors of the store, and of a ledger that is written to during the read.
_TRANSIENT = (StudyError, OSError)


class TrackingStore(Protocol):
    """A tracking store that results can be synchronized to."""

    @property
    def uri(self) -> str:
        """Address without secrets."""

    def sync_stepwise(
        self, results: ResultSnapshot, stage: SyncStage, progress: Progress | None = None
    ) -> Generator[str]:
        """Update the runs from the results; yield the name of each arm that was written."""


@dataclass(frozen=True)
class SyncInterval:
    """Pauses and timeouts of the background synchronization, in seconds.

    Attributes
    ----------
    interval : float
        Pause between updates of the progress alone.
    min_rest, cpu_share : float
        Pause after a synchronization: at least `min_rest`, and long enough that the thread uses at
        most the share `cpu_share` of the driver's CPU time.
    first_retry, longest_retry : float
        Pause after the first failed synchronization, doubled after each further failure up to
        `longest_retry`.
    patience, patience_share : float
        Timeout of the last synchronization: `patience`, or the share `patience_share` of the
        study's duration if that is longer.
    patience_per_page : float
        Extension of this timeout for every page that is written.
    """

    interval: float = 10.0
    min_rest: float = 1.0
    cpu_share: float = 0.05
    first_retry: float = 2.0
    longest_retry: float = 30.0
    patience: float = 60.0
    patience_share: float = 0.1
    patience_per_page: float = 2.0


DEFAULT_INTERVAL = SyncInterval()


class BackgroundSync:
    """Thread that synchronizes the ledger of a running study with its tracking store.

    Parameters
    ----------
    store : TrackingStore
        Used only by the thread.
    read : function
        Returns the current results; called in the thread.
    note : function
        Takes a message for the user. The thread calls it when the store starts to fail and when
        it works again; `finish` calls it while it waits.
    interval : SyncInterval, optional
    """

    def __init__(
        self,
        store: TrackingStore,
        read: Callable[[], ResultSnapshot],
        note: Callable[[str], None],
        interval: SyncInterval | None = None,
    ) -> None:
        self._store, self._read, self._note = store, read, note
        self._interval = interval or DEFAULT_INTERVAL
        self._changed = threading.Condition()  # guards the attributes up to `_last`
        self._due = self._closed = False
        self._progress: Progress | None = None  # as last reported
        self._synced_progress: Progress | None = None  # as last written to the store
        self._last: tuple[ResultSnapshot, SyncStage] | None = None
        self._began = self._ended = time.monotonic()
        self._rest, self._failures, self._error, self._written = 0.0, 0, "", 0
        self._work = run_in_thread(self._run, "pages")

    def request_sync(self) -> None:
        """Request a synchronization: the study begins, or an arm is complete."""
        with self._changed:
            self._due = True
            self._changed.notify()

    def report_progress(self, progress: Progress) -> None:
        """Report the progress of the study; it is written to the store at intervals."""
        with self._changed:
            self._progress = progress
            self._changed.notify()

    def finish(
        self,
        results: ResultSnapshot,
        *,
        stopped: bool = False,
        patience: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Synchronize a study that has ended, and return the number of arms written by this.

        Parameters
        ----------
        results : ResultSnapshot
        stopped : bool
            The study was interrupted: its page is marked as such, and only complete arms are
            written.
        patience : float, optional
            Timeout in seconds for a store that makes no progress, instead of the default one.
        should_stop : function
            Polled often; returning True gives up the rest.

        Raises
        ------
        TrackingError
            The store failed or is too slow; `study sync` writes the rest.
        """
        with self._changed:
            self._last = (results, SyncStage.STOPPED if stopped else SyncStage.ENDED)
            self._written = 0
            self._changed.notify()
        took = time.monotonic() - self._began
        timeout = max(self._interval.patience, self._interval.patience_share * took)
        try:
            self._wait(results, timeout if patience is None else patience, should_stop)
        finally:
            self.close()
        return self._work.result()

    def close(self) -> None:
        """Write nothing more; a call in progress is left to finish in the background."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _wait(
        self, results: ResultSnapshot, patience: float, should_stop: Callable[[], bool]
    ) -> None:
        began = noted = time.monotonic()
        while not wait([self._work], 0.1).done:  # a short timeout, so that Ctrl-C is noticed
            now = time.monotonic()
            if (
                should_stop()
                or now - began > patience + self._interval.patience_per_page * self._written
            ):
                why = self._error or f"the tracking store '{self._store.uri}' is slow"
                raise TrackingError(
                    f"the pages are not complete after {now - began:.0f} s: {why}; every result "
                    f"is in the ledger, and `study sync {results.spec.name}` writes the rest"
                )
            if now - noted > self._interval.interval:
                noted = now
                self._note(f"pages: {self._written} written, more to come; Ctrl-C skips the rest")

    # The methods below run in the background thread.

    def _run(self) -> int:
        while self._wait_until_due():
            self._sync_running()
        return self._sync_final(*self._last) if self._last and not self._closed else 0

    def _wait_until_due(self) -> bool:
        """Wait until a synchronization is due; False when the study has ended."""
        with self._changed:
            while not (self._closed or self._last):
                left = self._seconds_left()
                if left is not None and left <= 0:
                    self._due, self._synced_progress = False, self._progress
                    return True
                self._changed.wait(left)
        return False

    def _seconds_left(self) -> float | None:
        """Return the seconds until the next synchronization; None if nothing has changed."""
        rest = self._rest
        if not self._due:
            if self._progress == self._synced_progress:
                return None
            rest = max(rest, self._interval.interval)
        return self._ended + rest - time.monotonic()

    def _sync_running(self) -> None:
        cpu_time = time.thread_time()
        try:
            self._sync(self._read(), SyncStage.RUNNING)
        except _TRANSIENT as error:
            self._rest = self._handle_failure(error, "the study continues")
            self._due = True
        else:
            self._handle_success()
            cpu_time = time.thread_time() - cpu_time
            self._rest = max(self._interval.min_rest, cpu_time / self._interval.cpu_share)
        self._ended = time.monotonic()

    def _sync_final(self, results: ResultSnapshot, stage: SyncStage) -> int:
        self._failures = 0
        while True:
            try:
                count = self._sync(results, stage)
            except TrackingError as error:
                rest = self._handle_failure(error, "trying again")
                with self._changed:
                    if self._changed.wait_for(lambda: self._closed, rest):
                        raise
            else:
                self._handle_success()
                return count

    def _sync(self, results: ResultSnapshot, stage: SyncStage) -> int:
        """Write pages until all are up to date or the synchronization is outdated; return how many.

        It is outdated when the study has ended meanwhile, or `close` was called.
        """
        count = 0
        with closing(self._store.sync_stepwise(results, stage, self._synced_progress)) as steps:
            for _ in steps:
                count += 1
                self._written += 1
                if self._closed or (self._last and stage == SyncStage.RUNNING):
                    break
        _log.debug("%d pages written", count)
        return count

    def _handle_failure(self, error: Exception, consequence: str) -> float:
        """Note the first of a series of failures; return the pause before the next attempt."""
        if not self._error:
            self._note(f"{error}; {consequence}")
        _log.info("pages: attempt %d failed, %s", self._failures + 1, consequence)
        self._error = str(error)
        self._failures += 1
        return min(
            self._interval.first_retry * 2.0 ** (self._failures - 1), self._interval.longest_retry
        )

    def _handle_success(self) -> None:
        if self._error:
            self._note(f"the pages in '{self._store.uri}' are written again")
        self._error, self._failures = "", 0
