"""Work beside the main thread that never keeps the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def in_background(work: Callable[[], _T], name: str) -> Future[_T]:
    """Start a function in a thread of its own; the future has its value or its exception.

    Unlike the threads of an executor it is left behind when the program ends.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (whoever asks the future meets it)
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
