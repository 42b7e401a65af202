"""How much the packages log: ``-v`` of the command line, also in the processes of workers."""

from __future__ import annotations

import logging
import os
import sys

VARIABLE = "OLFACTION_LOG_LEVEL"
"""Environment variable with the level (``INFO``, ``DEBUG``); processes without it log warnings."""
_LOGGERS = ("study", "modalities", "fusion")
_handlers: list[logging.Handler] = []


def level() -> str:
    """Return the level of this process, '' if nobody asked for one."""
    return os.environ.get(VARIABLE, "")


def log_to_stderr(wanted: str) -> None:
    """Log to standard error from a level on, here and in the processes started from here.

    Parameters
    ----------
    wanted : str
        Name of a level of `logging`; '' changes nothing.
    """
    if not wanted:
        return
    os.environ[VARIABLE] = wanted
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(wanted)
        for old in _handlers:
            logger.removeHandler(old)
        logger.addHandler(handler)
    _handlers[:] = [handler]
