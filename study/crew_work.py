"""The work of one process of a crew, and how a crew ended. Knows nothing of Ray."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from study.causes import death
from study.executor import Outcome, Task, attempt
from study.limits import TimeLimitError, process_ends_after, within
from study.notice import LEAVING, LeavingError

_LOST_PEER = re.compile(r"gloo/|NCCL|ncclRemoteError")


class TaskError(Exception):
    """A task failed by itself: another try would fail too."""


@dataclass(frozen=True)
class Loss:
    """A task that has no outcome: one of its processes was lost.

    Attributes
    ----------
    task_id, cause : str
    left : bool
        It gave way to the notice that its machine is about to be taken away.
    """

    task_id: str
    cause: str
    left: bool = False


def plain(task: Task) -> dict[str, str]:
    """Return a task as text: ``id``, ``work`` and ``payload`` in JSON."""
    return {"id": task.id, "work": task.work, "payload": json.dumps(task.payload)}


def attempt_plain(task: Mapping[str, Any]) -> Outcome:
    """Call a task that is given as text."""
    return attempt(Task(task["id"], task["work"], json.loads(task["payload"])))


def stream(task: Mapping[str, str], limit: float | None) -> Iterator[Outcome | None]:
    """Say that a task runs (None), then how it ended; its process ends after `limit` seconds."""
    yield None
    with process_ends_after(limit):
        outcome = attempt_plain(task)
    yield outcome


def work(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task as one process of its crew: all call it, the first one's value counts.

    Parameters
    ----------
    task : mapping
        What `plain` returns, with the ``crew`` and the ``limit`` of the task in seconds, which a
        process that is alone leaves to whoever started it.

    Raises
    ------
    TaskError
        The task failed by itself, with its cause; or it took too long.
    LeavingError
        Its machine is about to be taken away.
    ConnectionError
        It failed because the transport to another process broke: that one has died.
    """
    limit = task["limit"] if task["crew"]["workers"] > 1 else None
    try:
        outcome = within(limit, lambda: attempt_plain(task))
    except TimeLimitError as error:
        raise TaskError(str(error)) from None
    if outcome.value is not None:
        return dict(outcome.value)
    if outcome.cause == LEAVING:
        raise LeavingError(LEAVING)
    if _LOST_PEER.search(outcome.cause):
        raise ConnectionError(outcome.cause)
    raise TaskError(outcome.cause)


def group_end(task_id: str, errors: Mapping[int, Exception]) -> Outcome | Loss:
    """Return how a task ended, given the error of each of its processes that has one, by rank."""
    own = own_fault(errors)
    if own is not None:
        return Outcome(task_id, cause=str(own))
    if any(isinstance(error, LeavingError) for error in errors.values()):
        return Loss(task_id, LEAVING, left=True)
    rank, first = first_to_fail(errors)
    if isinstance(first, ConnectionError):
        text = str(first).splitlines()[-1][:300]
        return Loss(task_id, f"worker {rank} lost another one: {text}")
    return Loss(task_id, f"worker {rank}: {death(first)}", left=_preempted(first))


def _preempted(error: Exception) -> bool:
    """Return whether Ray says that the machine was taken away after a notice."""
    return bool(getattr(getattr(error, "health_check_failure", error), "preempted", False))


def own_fault(errors: Mapping[int, Exception]) -> TaskError | None:
    """Return why a task failed by itself; None if a process died, alone or with its peers."""
    own = [error for error in errors.values() if isinstance(error, TaskError)]
    return own[0] if len(own) == len(errors) else None


def first_to_fail(errors: Mapping[int, Exception]) -> tuple[int, Exception]:
    """Return rank and error of the process that failed first, not of one that lost it."""
    return min(errors.items(), key=lambda item: isinstance(item[1], ConnectionError))
