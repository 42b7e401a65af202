"""Queue of the tasks of a stage on a cluster, with retries of tasks whose process was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from study.executors.base import Task, TaskCallback, TaskResult
from study.executors.failures import FailureKind
from study.executors.timeouts import time_limit_message

_log = logging.getLogger(__name__)

MOST_PREEMPTIONS = 20
"""Most retries after preemption notices, so that a notice file left behind cannot block a study."""
TOLERANCE = 0.5
"""Seconds that a driver may learn of a task's start late, compared to its end at the limit."""


class DriverState:
    """Base of Ray Tune callbacks with state of the driver, which is not pickled or restored."""

    def __getstate__(self) -> dict[str, object]:
        """Return no state."""
        return {}


class RetryQueue:
    """The tasks of a stage, dispatched one by one, and again if their process was lost.

    Parameters
    ----------
    tasks : iterable of Task
    callback : TaskCallback
        Called about each task; its first exception is kept in `error` and ends the stage.
    retries : int
        Retries of a task whose process died.
    limit : float, optional
        Seconds a task may take. A process ends itself at the limit, so one that is lost later was
        too slow. A task that is too slow is not retried: its limit would not hold, and a task
        that hangs would hang again.
    """

    def __init__(
        self, tasks: Iterable[Task], callback: TaskCallback, *, retries: int, limit: float | None
    ) -> None:
        self._waiting = deque(tasks)
        self._callback, self._retries, self._limit = callback, retries, limit
        self._dispatched: dict[str, Task] = {}
        self._started: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._preemptions: Counter[str] = Counter()
        self.error: Exception | None = None

    @property
    def dispatched(self) -> Collection[str]:
        """Tasks that were dispatched and have not ended."""
        return self._dispatched.keys()

    @property
    def not_started(self) -> list[str]:
        """Tasks that were dispatched and do not run yet."""
        return [task_id for task_id in self._dispatched if task_id not in self._started]

    @property
    def stopping(self) -> bool:
        """Whether no more tasks may start."""
        return self._callback.stopping or self.error is not None

    @property
    def hurried(self) -> bool:
        """Whether the stage must end at once."""
        return self._callback.hurried or self.error is not None

    @property
    def finished(self) -> bool:
        """Whether no task is dispatched and none will be."""
        return not self._dispatched and (self.stopping or not self._waiting)

    def next(self) -> Task | None:
        """Dispatch a task; None if none is waiting or no more may start."""
        if self.stopping or not self._waiting:
            return None
        task = self._waiting.popleft()
        self._dispatched[task.id] = task
        return task

    def mark_started(self, task_id: str) -> None:
        """Note that a task runs now; further calls for the same try do nothing."""
        if task_id not in self._started:
            self._started[task_id] = time.monotonic()
            self._call(lambda: self._callback.began(task_id))

    def add_result(self, result: TaskResult) -> None:
        """Record the end of a try: the task has ended, or its process was lost."""
        if result.kind is not None and result.kind.is_loss:
            self.add_loss(result)
        else:
            self._end(result)

    def put_back(self, task_id: str) -> None:
        """Return a task to the queue that did not run, or was ended together with others."""
        self._waiting.appendleft(self._remove(task_id))

    def add_loss(self, result: TaskResult) -> None:
        """Record the loss of a task's process; the task is retried while it has retries left."""
        task_id, cause, kind = result.id, result.cause, result.kind
        costs = kind is None or kind.costs_a_try
        self.mark_started(task_id)
        if self._limit is not None and costs and self._seconds(task_id) >= self._limit - TOLERANCE:
            message = time_limit_message(self._limit)
            self._end(TaskResult(task_id, cause=message, kind=FailureKind.TIMED_OUT))
            return
        if costs:
            counts, most = self._deaths, self._retries
        else:
            counts, most = self._preemptions, MOST_PREEMPTIONS
        counts[task_id] += 1
        if counts[task_id] > most:
            tries = f", in the last of {counts[task_id]} tries" if most else ""
            self._end(replace(result, cause=cause + tries))
            return
        _log.info("retrying %s (%s)", task_id, kind)
        self._waiting.appendleft(self._remove(task_id))
        self._call(lambda: self._callback.died(task_id, cause))

    def close(self) -> None:
        """Raise the exception of the callback, if there was one."""
        if self.error is not None:
            raise self.error

    def _end(self, result: TaskResult) -> None:
        """Record the final result of a task."""
        self.mark_started(result.id)
        self._remove(result.id)
        self._call(lambda: self._callback.ended(result))

    def _seconds(self, task_id: str) -> float:
        return time.monotonic() - self._started[task_id]

    def _remove(self, task_id: str) -> Task:
        self._started.pop(task_id, None)
        return self._dispatched.pop(task_id)

    def _call(self, callback: Callable[[], None]) -> None:
        """Call the callback, unless it has raised before."""
        if self.error is not None:
            return
        try:
            callback()
        except Exception as error:  # noqa: BLE001 (Ray Tune would take it for its own; raised by `close`)
            self.error = error
