"""Keeps the pages of a running study up to its ledger, beside the driver and never in its way.

A thread of its own is the only one that talks to the tracking store. While the study runs, a
store that is down, slow or restarted costs the driver nothing: what was missed is made up for by
the next projection, since each one starts from the ledger. Only the last one is waited for.
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
from study.results.study_results import StudyResults
from study.tracking.sync import SyncStage

_log = logging.getLogger(__name__)
_TRANSIENT = (StudyError, OSError)  # of the store, and of a ledger that is written meanwhile


class TrackingStore(Protocol):
    """Where results are shown."""

    @property
    def uri(self) -> str:
        """Where that is, without secrets."""

    def steps(
        self, record: StudyResults, stage: SyncStage, progress: Progress | None = None
    ) -> Generator[str]:
        """Bring the pages up to the record; yield the name of each arm that was written."""


@dataclass(frozen=True)
class SyncInterval:
    """How long the projector rests and is waited for, in seconds.

    Attributes
    ----------
    interval : float
        Between two showings of the progress alone.
    least, share : float
        Rest after a projection: at least `least`, and so long that the projector has the driver's
        processor for no more than `share` of the time.
    first, longest : float
        Rest after a projection that failed; doubled each time.
    patience, delay : float
        At the end a store that does nothing is waited for `patience`, or for `delay` times what
        the study took if that is longer.
    page : float
        Added to the patience by every page that is written meanwhile.
    """

    interval: float = 10.0
    least: float = 1.0
    share: float = 0.05
    first: float = 2.0
    longest: float = 30.0
    patience: float = 60.0
    delay: float = 0.1
    page: float = 2.0


USUAL = SyncInterval()


class BackgroundSync:
    """Projects the ledger of a running study onto its pages.

    Parameters
    ----------
    pages : TrackingStore
        Used by the projector's thread alone.
    read : function
        Returns the study as it stands; called in that thread.
    note : function
        Told once of trouble and once of its end, in that thread; of waiting, by `finish`.
    pace : SyncInterval, optional
    """

    def __init__(
        self,
        pages: TrackingStore,
        read: Callable[[], StudyResults],
        note: Callable[[str], None],
        pace: SyncInterval | None = None,
    ) -> None:
        self._pages, self._read, self._note, self._pace = pages, read, note, pace or USUAL
        self._news = threading.Condition()
        self._due = self._closed = False
        self._told: Progress | None = None
        self._showing: Progress | None = None
        self._last: tuple[StudyResults, SyncStage] | None = None
        self._began = self._ended = time.monotonic()
        self._rest, self._failures, self._trouble, self._written = 0.0, 0, "", 0
        self._work = run_in_thread(self._run, "pages")

    def due(self) -> None:
        """Say that there is something to show: the study begins, an arm is complete."""
        with self._news:
            self._due = True
            self._news.notify()

    def tell(self, progress: Progress) -> None:
        """Say how far the study is; it is shown at times."""
        with self._news:
            self._told = progress
            self._news.notify()

    def finish(
        self,
        record: StudyResults,
        *,
        stopped: bool = False,
        patience: float | None = None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> int:
        """Bring the pages up to a study that has ended; return how many arms that wrote.

        Parameters
        ----------
        record : StudyResults
        stopped : bool
            The study was interrupted: its page says so, and only complete arms are written.
        patience : float, optional
            Seconds that a store which does nothing is waited for, in place of the usual.
        hurried : function
            Asked often: True leaves what is not written.

        Raises
        ------
        TrackingError
            The store is broken or too slow; `study sync` does the rest.
        """
        with self._news:
            self._last, self._written = (
                (record, SyncStage.STOPPED if stopped else SyncStage.ENDED),
                0,
            )
            self._news.notify()
        took = time.monotonic() - self._began
        usual = max(self._pace.patience, self._pace.delay * took)
        try:
            self._wait(record, usual if patience is None else patience, hurried)
        finally:
            self.close()
        return self._work.result()

    def close(self) -> None:
        """Write nothing more; a call under way is left to itself."""
        with self._news:
            self._closed = True
            self._news.notify()

    def _wait(self, record: StudyResults, patience: float, hurried: Callable[[], bool]) -> None:
        began = said = time.monotonic()
        while not wait([self._work], 0.1).done:  # short, so that Ctrl-C is heard
            now = time.monotonic()
            if hurried() or now - began > patience + self._pace.page * self._written:
                why = self._trouble or f"the tracking store '{self._pages.uri}' is slow"
                raise TrackingError(
                    f"the pages are not complete after {now - began:.0f} s: {why}; every result "
                    f"is in the ledger, and `study sync {record.spec.name}` writes the rest"
                )
            if now - said > self._pace.interval:
                said = now
                self._note(f"pages: {self._written} written, more to do; Ctrl-C leaves them")

    # What follows runs in the projector's thread.

    def _run(self) -> int:
        while self._is_due():
            self._catch_up()
        return self._end(*self._last) if self._last and not self._closed else 0

    def _is_due(self) -> bool:
        """Wait until there is something to show; False when the study has ended."""
        with self._news:
            while not (self._closed or self._last):
                left = self._left()
                if left is not None and left <= 0:
                    self._due, self._showing = False, self._told
                    return True
                self._news.wait(left)
        return False

    def _left(self) -> float | None:
        """Return the seconds until the next projection; None if nothing is new."""
        rest = self._rest
        if not self._due:
            if self._told == self._showing:
                return None
            rest = max(rest, self._pace.interval)
        return self._ended + rest - time.monotonic()

    def _catch_up(self) -> None:
        spent = time.thread_time()
        try:
            self._project(self._read(), SyncStage.RUNNING)
        except _TRANSIENT as error:
            self._rest = self._failed(error, "the study goes on")
            self._due = True
        else:
            self._recovered()
            spent = time.thread_time() - spent
            self._rest = max(self._pace.least, spent / self._pace.share)
        self._ended = time.monotonic()

    def _end(self, record: StudyResults, stage: SyncStage) -> int:
        self._failures = 0
        while True:
            try:
                count = self._project(record, stage)
            except TrackingError as error:
                rest = self._failed(error, "trying again")
                with self._news:
                    if self._news.wait_for(lambda: self._closed, rest):
                        raise
            else:
                self._recovered()
                return count

    def _project(self, record: StudyResults, stage: SyncStage) -> int:
        """Write pages until all are up or nobody wants more of them; return how many."""
        count = 0
        with closing(self._pages.steps(record, stage, self._showing)) as steps:
            for _ in steps:
                count += 1
                self._written += 1
                if self._closed or (self._last and stage == SyncStage.RUNNING):
                    break
        _log.debug("%d pages written", count)
        return count

    def _failed(self, error: Exception, what_now: str) -> float:
        """Say it the first time; return how long to rest."""
        if not self._trouble:
            self._note(f"{error}; {what_now}")
        _log.info("pages: attempt %d failed, %s", self._failures + 1, what_now)
        self._trouble = str(error)
        self._failures += 1
        return min(self._pace.first * 2.0 ** (self._failures - 1), self._pace.longest)

    def _recovered(self) -> None:
        if self._trouble:
            self._note(f"the pages in '{self._pages.uri}' are written again")
        self._trouble, self._failures = "", 0
