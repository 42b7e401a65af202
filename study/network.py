"""Reachability of servers, and threads that never keep the program from ending."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TypeVar
from urllib.parse import urlsplit

_T = TypeVar("_T")


def run_in_thread(work: Callable[[], _T], name: str) -> Future[_T]:
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


_SECONDS = 5.0
_DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PORTS = {"http": 80, "https": 443, **_DATABASES}


def check_reachable(address: str) -> None:
    """Open and close a connection to ``host:port`` or a URL with a host; else do nothing.

    Raises
    ------
    OSError
        Nothing answers there within 5 seconds, or a database refuses who asks.
    ValueError
        The port is no number.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    kind = parts.scheme.partition("+")[0]
    port = parts.port or _PORTS.get(kind)
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_SECONDS).close()
        if kind in _DATABASES:
            _log_in(address)


def _log_in(database: str) -> None:
    """Log in once and out; MLflow would try a wrong password for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(database)
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        raise ConnectionError(str(getattr(error, "orig", None) or error).strip()) from error
    finally:
        engine.dispose()


def check_answers(ask: Callable[[], object], *, wait: bool) -> None:
    """Ask a first question of a store, and raise what it raises.

    Parameters
    ----------
    ask : function
    wait : bool
        False: a store that takes its time is taken for a slow one, after 5 seconds.
    """
    if wait:
        ask()
        return
    answer = run_in_thread(ask, "first question")
    if wait_for([answer], _SECONDS).done:
        answer.result()
