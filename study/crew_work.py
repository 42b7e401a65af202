"""The work of one process of a crew, and why a crew failed. Knows nothing of Ray."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from study.executor import Task, attempt

_LOST_PEER = re.compile(r"gloo/|NCCL|ncclRemoteError")


class TaskError(Exception):
    """A task failed by itself: another try would fail too."""


def work(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task as one process of its crew: all call it, the first one's value counts.

    Parameters
    ----------
    task : mapping
        ``id``, ``work`` and ``payload`` (JSON) of a `Task`.

    Raises
    ------
    TaskError
        The task failed by itself, with its cause.
    ConnectionError
        It failed because the transport to another process broke: that one has died.
    """
    outcome = attempt(Task(task["id"], task["work"], json.loads(task["payload"])))
    if outcome.value is not None:
        return dict(outcome.value)
    if _LOST_PEER.search(outcome.cause):
        raise ConnectionError(outcome.cause)
    raise TaskError(outcome.cause)


def own_fault(errors: Mapping[int, Exception]) -> TaskError | None:
    """Return why a task failed by itself; None if a process died, alone or with its peers."""
    own = [error for error in errors.values() if isinstance(error, TaskError)]
    return own[0] if len(own) == len(errors) else None


def first_to_fail(errors: Mapping[int, Exception]) -> tuple[int, Exception]:
    """Return rank and error of the process that failed first, not of one that lost it."""
    return min(errors.items(), key=lambda item: isinstance(item[1], ConnectionError))
