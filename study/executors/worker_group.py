"""The work of one process of a crew, and how a crew ended. Knows nothing of Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from study.executors.base import Task, TaskResult, attempt_task
from study.executors.failures import FailureKind
from study.executors.logs import level, log_to_stderr
from study.executors.timeouts import TimeLimitError, call_within, end_process_after


class TaskError(Exception):
    """One process of a crew could not do its task.

    Attributes
    ----------
    outcome : TaskResult
        How the task ended in this process.
    """

    def __init__(self, outcome: TaskResult) -> None:
        super().__init__(outcome)  # the arguments are what pickle hands on
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.cause


def to_plain(task: Task) -> dict[str, str]:
    """Return a task as text: ``id``, ``work``, ``payload`` in JSON, and ``level`` of the logs."""
    payload = json.dumps(task.payload)
    return {"id": task.id, "work": task.work, "payload": payload, "level": level()}


def attempt_task_plain(task: Mapping[str, Any]) -> TaskResult:
    """Call a task that is given as text; the process logs as the driver does."""
    log_to_stderr(task.get("level", ""))
    return attempt_task(Task(task["id"], task["work"], json.loads(task["payload"])))


def stream(task: Mapping[str, str], limit: float | None) -> Iterator[TaskResult | None]:
    """Say that a task runs (None), then how it ended; its process ends after `limit` seconds."""
    yield None
    with end_process_after(limit):
        outcome = attempt_task_plain(task)
    yield outcome


def work(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task as one process of its crew: all call it, the first one's value counts.

    Parameters
    ----------
    task : mapping
        What `to_plain` returns, with the ``crew`` and the ``limit`` of the task in seconds, which a
        process that is alone leaves to whoever started it.

    Raises
    ------
    TaskError
        The task has no value: it failed by itself, took too long, leaves a machine that is about
        to be taken away, or lost another process of the crew.
    """
    limit = task["limit"] if task["crew"]["workers"] > 1 else None
    try:
        outcome = call_within(limit, lambda: attempt_task_plain(task))
    except TimeLimitError as error:
        raise TaskError(TaskResult.failed(task["id"], error)) from None
    if outcome.value is None:
        raise TaskError(outcome)
    return dict(outcome.value)


def find_group_end(ends: Mapping[int, TaskResult]) -> TaskResult:
    """Return how a task ended, given the outcome of each of its processes that failed, by rank.

    It failed by itself only if none of them was lost; one that failed beside a loss may have
    failed of it.
    """
    own = [end for end in ends.values() if not _is_loss(end)]
    if len(own) == len(ends):
        return own[0]
    for end in ends.values():
        if end.kind is FailureKind.PREEMPTED:
            return end
    rank, first = min(ends.items(), key=lambda item: _order(item[1]))
    if first.kind is FailureKind.PEER_LOST:
        return replace(first, cause=f"worker {rank} lost another one: {first.cause}")
    kind = first.kind if _is_loss(first) else FailureKind.PEER_LOST
    return replace(first, cause=f"worker {rank}: {first.cause}", kind=kind)


def _order(end: TaskResult) -> int:
    """Sort losses before failures that may come of them, and these before echoes."""
    if end.kind is FailureKind.PEER_LOST:
        return 2
    return 0 if _is_loss(end) else 1


def _is_loss(end: TaskResult) -> bool:
    return end.kind is not None and end.kind.is_loss
