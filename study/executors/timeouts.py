"""Time limits that end a hanging task, even one that is stuck in native code."""

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
    """A task exceeded its time limit."""


def time_limit_message(seconds: float) -> str:
    """Return the cause of a task that exceeded a limit of so many seconds."""
    return (
        f"ran longer than the limit of {seconds / 60:g} minutes ('run.time_limit'); "
        "raise the limit or check the trial"
    )


@contextmanager
def end_process_after(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer; for worker processes.

    A native thread ends it without Python's global lock, so native code that holds the lock cannot
    prevent it. The stacks of all Python threads are written to stderr, which Ray keeps in its logs.
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
    """Raise a TimeLimitError in the block if it takes longer; for tasks in the driver itself.

    Works in the main thread only; in other threads there is no limit. Native code is interrupted
    when it returns to Python.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_alarm(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of a handler)
        raise TimeLimitError(time_limit_message(seconds))

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call_within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return the value of a call that runs in its own thread, waiting at most so many seconds.

    For one of several processes that train together. It must not simply end at the limit, or the
    others would report a lost peer: it raises an error, and Ray Train ends the process.

    Raises
    ------
    TimeLimitError
        The call takes longer; its thread is abandoned.
    """
    if seconds is None:
        return call()
    values: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(call())
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            errors.append(error)

    thread = threading.Thread(target=run, name="limited", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not values:
        raise TimeLimitError(time_limit_message(seconds))
    return values[0]
