"""Limits of time: a task that hangs is ended, also one that is stuck in native code."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from study.errors import StudyError

T = TypeVar("T")


class TimeLimitError(StudyError):
    """A task took longer than it may."""


def time_limit_message(seconds: float) -> str:
    """Return the cause of a task that took longer than so many seconds."""
    return (
        f"ran longer than the limit of {seconds / 60:g} minutes ('run.time_limit'); "
        "raise the limit or look at the trial"
    )


@contextmanager
def end_process_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer; for a process that works for a driver.

    A thread of C does it, which needs no lock of Python: native code that keeps the lock cannot
    hold it up. Where every thread of Python was is written to stderr, which Ray keeps in its logs.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def raise_after(seconds: float | None) -> Iterator[None]:
    """Raise a TimeLimitError in the block if it takes longer; for work in the driver itself.

    Needs the main thread; elsewhere there is no limit. Native code is interrupted when it returns
    to Python.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of a handler)
        raise TimeLimitError(time_limit_message(seconds))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call_within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return what a call returns, waiting no longer than this; it runs in a thread of its own.

    For one process of several that train together: the others have to hear that it was the time,
    so it leaves with an error and its process is ended by those who started it.

    Raises
    ------
    TimeLimitError
        The call takes longer; its thread is left behind.
    """
    if seconds is None:
        return call()
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001 (handed to the caller's thread)
            failed.append(error)

    thread = threading.Thread(target=run, name="limited", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeLimitError(time_limit_message(seconds))
    return found[0]
