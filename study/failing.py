"""Failed trials as text: one line a cause, and their tracebacks."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Iterable

from study.errors import StorageError
from study.ledger import Failure
from study.redaction import redacted
from study.storage import Storage

FOLDER = "logs"
"""Folder of tracebacks, in that of a study."""
WIDTH = 80
"""Columns of a traceback that is printed."""
_log = logging.getLogger(__name__)


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """Return a line for every cause, with the number of its trials and the first of them."""
    by_cause: dict[str, list[str]] = {}
    for failure in sorted(failures, key=lambda failure: failure.trial):
        by_cause.setdefault(failure.cause, []).append(failure.trial)
    return [
        f"failed: {len(trials)} trials, the first {trials[0]}: {cause}"
        for cause, trials in by_cause.items()
    ]


def traceback_lines(failures: Iterable[Failure]) -> list[str]:
    """Return the tracebacks of failed trials, wrapped at 80 columns; each is shown once.

    Trials that failed in the same place are named together.
    """
    by_traceback: dict[str, list[Failure]] = {}
    for failure in sorted(failures, key=lambda failure: failure.trial):
        by_traceback.setdefault(failure.traceback, []).append(failure)
    lines = []
    for traceback, alike in by_traceback.items():
        if traceback:
            names = [f"traceback of {failure.trial} ({failure.id}):" for failure in alike]
            lines += ["", *_wrapped(names), *_wrapped(traceback.splitlines())]
    if not lines:
        return ["no traceback is kept: no trial failed unexpectedly"]
    return lines


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Break lines at 80 columns; what follows a break is indented as its line, and by 4 more."""
    broken: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())][:40]
        more = textwrap.wrap(
            line.strip(), WIDTH, initial_indent=indent, subsequent_indent=indent + "    "
        )
        broken += more or [""]
    return broken


def write_log(home: Storage, task_id: str, name: str, traceback: str) -> None:
    """Write the traceback of a task to ``logs/<task id>.txt`` of a study's folder.

    Passwords and tokens of addresses are left out. A storage that refuses the file stops nothing.

    Parameters
    ----------
    home : Storage
        Folder of the study.
    task_id, name : str
        Identity of the task, and what people call it.
    traceback : str
        Nothing is written if it is empty.
    """
    if not traceback:
        return
    folder, file = home.below(FOLDER), re.sub(r"[^\w.+-]+", "-", task_id) + ".txt"
    try:
        folder.write(file, redacted(f"{name}\n\n{traceback}").encode())
    except StorageError as error:
        _log.warning("a traceback is not kept: %s", error)
