"""What ends a launch early: Ctrl-C once, soon and all saved; twice, at once; a budget."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from study.errors import StudyError
from study.storage.lock import LockedError

GRACE = 10.0
"""Seconds that trials under way may still take after the first Ctrl-C."""


class StopSignal:
    """Whether a launch has been asked to end.

    Parameters
    ----------
    note : function
        Told of the first request.
    lost : function, optional
        Whether another launch of the study has taken over.
    """

    def __init__(
        self, note: Callable[[str], None], lost: Callable[[], bool] = lambda: False
    ) -> None:
        self._note, self._lost = note, lost
        self._pressed: float | None = None
        self._spent = False
        self._broken: StudyError | None = None

    @property
    def asked(self) -> bool:
        """True: begin nothing more."""
        return self._spent or self.interrupted or self._broken is not None or self._lost()

    @property
    def interrupted(self) -> bool:
        """True: somebody wants the launch to end."""
        return self._pressed is not None

    @property
    def hurried(self) -> bool:
        """True: the grace is over, or the study is another launch's; leave what still runs."""
        pressed = self._pressed
        return self._lost() or (pressed is not None and time.monotonic() - pressed > GRACE)

    def check(self) -> None:
        """Leave the launch if it has been asked to.

        Raises
        ------
        KeyboardInterrupt
            By Ctrl-C.
        LockedError
            By another launch.
        StudyError
            What `give_up` was told.
        """
        if self._broken is not None:
            raise self._broken
        if self._lost():
            raise LockedError(
                "another launch of this study took over while this process was suspended; it "
                "goes on there (`study status`), and nothing that was finished is lost"
            )
        if self.interrupted:
            raise KeyboardInterrupt

    def give_up(self, error: StudyError) -> None:
        """Begin nothing more for this reason, the first one that is told."""
        self._broken = self._broken or error

    def press(self) -> None:
        """Ask for an end; the grace starts with the first time."""
        if self._pressed is None:
            self._pressed = time.monotonic()
            self._note(
                f"stopping: what runs has {GRACE:.0f} s to finish; press Ctrl-C again to leave now"
            )

    def spend(self, reason: str) -> None:
        """Begin nothing more since a budget is reached; what runs may end in its own time."""
        if not self._spent:
            self._spent = True
            self._note(f"{reason}: nothing more is begun; launching again goes on")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM here: the first asks, the second raises KeyboardInterrupt.

        Only the main thread can; elsewhere nothing changes.
        """

        def pressed(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of a handler)
            if self.interrupted:
                raise KeyboardInterrupt
            self.press()

        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(each, pressed) for each in signals]
        try:
            yield
        finally:
            for each, handler in zip(signals, before, strict=True):
                signal.signal(each, handler)
