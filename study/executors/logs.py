"""Log level of the packages (``-v`` of the command line), also in worker processes."""

from __future__ import annotations

import logging
import os
import sys

VARIABLE = "OLFACTION_LOG_LEVEL"
"""Environment variable with the level (``INFO``, ``DEBUG``). Default: warnings only."""
_LOGGERS = ("study", "modalities", "fusion")
_handlers: list[logging.Handler] = []


def level() -> str:
    """Return the log level that was set for this process, or ''."""
    return os.environ.get(VARIABLE, "")


def log_to_stderr(name: str) -> None:
    """Log to standard error from this level on, in this process and those started from it.

    Parameters
    ----------
    name : str
        Name of a level of `logging`; '' changes nothing.
    """
    if not name:
        return
    os.environ[VARIABLE] = name
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for package in _LOGGERS:
        logger = logging.getLogger(package)
        logger.setLevel(name)
        for old in _handlers:
            logger.removeHandler(old)
        logger.addHandler(handler)
    _handlers[:] = [handler]
