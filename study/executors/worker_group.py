"""Run a task in one process of a worker group, and combine the results of all; without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from study.executors.base import Task, TaskResult, attempt_task
from study.executors.failures import FailureKind
from study.executors.logs import level, log_to_stderr
from study.executors.timeouts import TimeLimitError, call_within, end_process_after
from study.plugins.loading import load_sent_plugins, serialize_plugins


class TaskError(Exception):
    """A task failed in one process of a worker group.

    Attributes
    ----------
    result : TaskResult
        Result of the task in this process.
    """

    def __init__(self, result: TaskResult) -> None:
        super().__init__(result)  # pickle rebuilds an exception from its arguments
        self.result = result

    def __str__(self) -> str:
        return self.result.cause


def serialize_task(task: Task) -> dict[str, str]:
    """Return a task as texts for another process.

    They are ``id``, ``work``, ``payload`` and ``plugins`` in JSON, and ``level`` of the logs.
    """
    payload, plugins = json.dumps(task.payload), json.dumps(serialize_plugins())
    return {
        "id": task.id,
        "work": task.work,
        "payload": payload,
        "plugins": plugins,
        "level": level(),
    }


def attempt_serialized_task(task: Mapping[str, Any]) -> TaskResult:
    """Call a task that `serialize_task` returned, with the log level and plug-ins of the driver."""
    log_to_stderr(task.get("level", ""))
    load_sent_plugins(json.loads(task.get("plugins", "[]")))
    return attempt_task(Task(task["id"], task["work"], json.loads(task["payload"])))


def stream_task(task: Mapping[str, str], limit: float | None) -> Iterator[TaskResult | None]:
    """Yield None when the task starts, then its result; ends the process after `limit` seconds."""
    yield None
    with end_process_after(limit):
        result = attempt_serialized_task(task)
    yield result


def run_worker(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task in one process of its worker group; the first process's value is used.

    Parameters
    ----------
    task : mapping
        What `serialize_task` returns, with the worker group (key ``crew``) and the ``limit`` of
        the task in seconds, which for a single process is enforced by its caller.

    Raises
    ------
    TaskError
        The task has no value: it failed by itself, took too long, was preempted, or lost another
        process of the group.
    """
    limit = task["limit"] if task["crew"]["workers"] > 1 else None
    try:
        result = call_within(limit, lambda: attempt_serialized_task(task))
    except TimeLimitError as error:
        raise TaskError(TaskResult.failed(task["id"], error)) from None
    if result.value is None:
        raise TaskError(result)
    return dict(result.value)


def combine_failures(failures: Mapping[int, TaskResult]) -> TaskResult:
    """Return the result of a task, given the result of each failed process by rank.

    The task failed by itself only if no process was lost: a failure in another process may be a
    consequence of a loss.
    """
    own_failures = [failure for failure in failures.values() if not _is_loss(failure)]
    if len(own_failures) == len(failures):
        return own_failures[0]
    for failure in failures.values():
        if failure.kind is FailureKind.PREEMPTED:
            return failure
    rank, first = min(failures.items(), key=lambda item: _rank_cause(item[1]))
    if first.kind is FailureKind.PEER_LOST:
        return replace(first, cause=f"worker {rank} lost another worker: {first.cause}")
    kind = first.kind if _is_loss(first) else FailureKind.PEER_LOST
    return replace(first, cause=f"worker {rank}: {first.cause}", kind=kind)


def _rank_cause(failure: TaskResult) -> int:
    """Rank losses first, then failures that may follow from them, then reports of a lost peer."""
    if failure.kind is FailureKind.PEER_LOST:
        return 2
    return 0 if _is_loss(failure) else 1


def _is_loss(failure: TaskResult) -> bool:
    return failure.kind is not None and failure.kind.is_loss
