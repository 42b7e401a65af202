"""What a stage on a cluster has still to run, and how often the process of a task was lost."""

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

MOST_LEFT = 20
"""Times a task may give way to a machine's notice: a notice that stays must not hold a study up."""
LATE = 0.5
"""Seconds by which a driver may hear of a beginning later than of an end at the limit."""


class DriverState:
    """Its state is the driver's own: left out when Ray Tune pickles it, and never restored."""

    def __getstate__(self) -> dict[str, object]:
        """Nothing."""
        return {}


class RetryQueue:
    """The tasks of a stage: given out one by one, and again when their process was lost.

    Parameters
    ----------
    tasks : iterable of Task
    listener : TaskCallback
        Hears of each task; its own error is kept in `error`, and ends the stage.
    retries : int
        Times a task whose process died is tried again.
    limit : float, optional
        Seconds a task may take. Its process ends itself then, so a process that is lost later
        than that was not lost but too slow. A task that is too slow is not tried again: the
        limit would not hold, and what hangs by itself would hang once more.
    """

    def __init__(
        self, tasks: Iterable[Task], listener: TaskCallback, *, retries: int, limit: float | None
    ) -> None:
        self._waiting = deque(tasks)
        self._listener, self._retries, self._limit = listener, retries, limit
        self._out: dict[str, Task] = {}
        self._began: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self.error: Exception | None = None

    @property
    def out(self) -> Collection[str]:
        """Tasks that were given out and have not ended."""
        return self._out.keys()

    @property
    def unbegun(self) -> list[str]:
        """Tasks that were given out and do not run yet."""
        return [task_id for task_id in self._out if task_id not in self._began]

    @property
    def stopping(self) -> bool:
        """Whether nothing more may begin."""
        return self._listener.stopping or self.error is not None

    @property
    def hurried(self) -> bool:
        """Whether the stage has to end at once."""
        return self._listener.hurried or self.error is not None

    @property
    def over(self) -> bool:
        """Whether nothing is out and nothing is to be given out."""
        return not self._out and (self.stopping or not self._waiting)

    def next(self) -> Task | None:
        """Give out a task; None if none is waiting or nothing more may begin."""
        if self.stopping or not self._waiting:
            return None
        task = self._waiting.popleft()
        self._out[task.id] = task
        return task

    def began(self, task_id: str) -> None:
        """Note that a task runs now; whatever else is told of a try comes after."""
        if task_id not in self._began:
            self._began[task_id] = time.monotonic()
            self._tell(lambda: self._listener.began(task_id))

    def ended(self, outcome: TaskResult) -> None:
        """Take how a task ended."""
        self.began(outcome.id)
        self._forget(outcome.id)
        self._tell(lambda: self._listener.ended(outcome))

    def take(self, outcome: TaskResult) -> None:
        """Take how a try ended: the task has ended, or its process was lost."""
        if outcome.kind is not None and outcome.kind.is_loss:
            self.lost(outcome)
        else:
            self.ended(outcome)

    def withdraw(self, task_id: str) -> None:
        """Take a task back that has not run, or whose run was broken off with others."""
        self._waiting.appendleft(self._forget(task_id))

    def lost(self, outcome: TaskResult) -> None:
        """Take the loss of a task's process; the task is tried again while it has tries left."""
        task_id, cause, kind = outcome.id, outcome.cause, outcome.kind
        costs = kind is None or kind.costs_a_try
        self.began(task_id)
        if self._limit is not None and costs and self._seconds(task_id) >= self._limit - LATE:
            late = TaskResult(
                task_id, cause=time_limit_message(self._limit), kind=FailureKind.TIMED_OUT
            )
            self.ended(late)
            return
        counts, most = (self._deaths, self._retries) if costs else (self._left, MOST_LEFT)
        counts[task_id] += 1
        if counts[task_id] > most:
            tries = f", in the last of {counts[task_id]} tries" if most else ""
            self.ended(replace(outcome, cause=cause + tries))
            return
        _log.info("%s is tried again (%s)", task_id, kind)
        self._waiting.appendleft(self._forget(task_id))
        self._tell(lambda: self._listener.died(task_id, cause))

    def close(self) -> None:
        """Raise the listener's error, if there was one."""
        if self.error is not None:
            raise self.error

    def _seconds(self, task_id: str) -> float:
        return time.monotonic() - self._began[task_id]

    def _forget(self, task_id: str) -> Task:
        self._began.pop(task_id, None)
        return self._out.pop(task_id)

    def _tell(self, say: Callable[[], None]) -> None:
        """Tell the listener; after its first error nobody is told anything."""
        if self.error is not None:
            return
        try:
            say()
        except Exception as error:  # noqa: BLE001 (Ray Tune would take it for one of its own; raised at the end of the stage)
            self.error = error
