"""Stop a launch early: after one Ctrl-C (soon), a second one (at once), or a reached budget."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from study.errors import StudyError
from study.storage.lock import LockedError

GRACE = 10.0
"""Seconds that running trials may still take after the first Ctrl-C."""


class StopSignal:
    """Whether a launch must stop, and why.

    Parameters
    ----------
    note : function
        Called with a message at the first request.
    is_lost : function, optional
        Whether another launch of the study has taken over.
    """

    def __init__(
        self, note: Callable[[str], None], is_lost: Callable[[], bool] = lambda: False
    ) -> None:
        self._note, self._is_lost = note, is_lost
        self._interrupted_at: float | None = None
        self._is_spent = False
        self._error: StudyError | None = None

    @property
    def requested(self) -> bool:
        """True: start no more trials."""
        return self._is_spent or self.interrupted or self._error is not None or self._is_lost()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM was received."""
        return self._interrupted_at is not None

    @property
    def hurried(self) -> bool:
        """True: abandon running trials; the grace is over, or another launch has taken over."""
        since = self._interrupted_at
        return self._is_lost() or (since is not None and time.monotonic() - since > GRACE)

    def check(self) -> None:
        """Raise if the launch must stop, except for a reached budget.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C or SIGTERM was received.
        LockedError
            Another launch has taken over.
        StudyError
            The error that `abort` was called with.
        """
        if self._error is not None:
            raise self._error
        if self._is_lost():
            raise LockedError(
                "another launch of this study took over while this process was suspended, and "
                "continues it (see `study status`); no finished result is lost"
            )
        if self.interrupted:
            raise KeyboardInterrupt

    def abort(self, error: StudyError) -> None:
        """Stop because of an error; `check` raises the first one."""
        self._error = self._error or error

    def interrupt(self) -> None:
        """Stop as after Ctrl-C; the grace starts with the first call."""
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            self._note(
                f"stopping: running trials have {GRACE:.0f} s to finish; press Ctrl-C again to "
                "leave now"
            )

    def spend(self, reason: str) -> None:
        """Start no more trials, since a budget is reached; running ones may take their time."""
        if not self._is_spent:
            self._is_spent = True
            self._note(
                f"{reason}: no more trials are started; run the same command again to continue"
            )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle Ctrl-C and SIGTERM: the first is a request, the second raises KeyboardInterrupt.

        Must be called in the main thread.
        """

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of a handler)
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupt()

        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, on_signal) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
