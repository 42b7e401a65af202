"""Reachability of servers, and threads that do not keep the program from exiting."""

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
    """Start a function in a new thread; the future gets its value or its exception.

    Unlike a thread of `ThreadPoolExecutor`, it does not keep the program from exiting.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again by `Future.result`)
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
        Nothing answers within 5 seconds, or a database refuses the login.
    ValueError
        The port is not a number.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    kind = parts.scheme.partition("+")[0]
    port = parts.port or _PORTS.get(kind)
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_SECONDS).close()
        if kind in _DATABASES:
            _log_in(address)


def _log_in(database: str) -> None:
    """Log in to a database once; MLflow would retry a wrong password for minutes."""
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
    """Send a first query to a store, and raise the exception it raises.

    Parameters
    ----------
    ask : function
        Sends the query.
    wait : bool
        Whether to wait for the answer. Otherwise a store without an answer after 5 seconds counts
        as slow, and nothing is raised.
    """
    if wait:
        ask()
        return
    answer = run_in_thread(ask, "first query")
    if wait_for([answer], _SECONDS).done:
        answer.result()
