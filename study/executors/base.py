"""The executor interface, tasks and their results, and the executor in this process."""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from study.errors import InputError
from study.executors.environment import load_private_environment
from study.executors.failures import (
    FailureKind,
    classify_failure,
    format_cause,
    format_traceback,
    loss_message,
)
from study.executors.timeouts import raise_after

_log = logging.getLogger(__name__)

Payload = Mapping[str, Any]
"""JSON scalars, lists and mappings: the values that are sent between processes."""


@dataclass(frozen=True)
class WorkerGroup:
    """Number and GPUs of the processes that train one encoder together.

    Attributes
    ----------
    workers : int
        Replicas, one process each; several form one torch process group.
    gpus : float
        GPUs that each process reserves; 0: it runs on the CPU.
    """

    workers: int = 1
    gpus: float = 0.0


@dataclass(frozen=True)
class Task:
    """A unit of work: the name of a function and its argument.

    Attributes
    ----------
    id : str
        Identity of the task's result.
    work : str
        Function as ``package.module:function``; takes the payload and returns a mapping of JSON
        values. Every process of a worker group calls it, and the value of the first one is used.
    payload : mapping
    worker_group : WorkerGroup or None
        Processes that run an encoder; None (features, heads): one process on the CPU.
    title : str
        Name for users. Default: the identity.
    pieces : int
        Number of units that progress counts, such as the trials of a pack.
    """

    id: str
    work: str
    payload: Payload
    worker_group: WorkerGroup | None = None
    title: str = ""
    pieces: int = 1

    @property
    def name(self) -> str:
        """Name of the task for users."""
        return self.title or self.id

    def call(self) -> Mapping[str, Any]:
        """Import the function, call it in this process and return its value."""
        module, _, name = self.work.partition(":")
        value: Mapping[str, Any] = getattr(importlib.import_module(module), name)(self.payload)
        json.dumps(value)  # raises TypeError here, where it is the task's failure
        return value


@dataclass(frozen=True)
class TaskResult:
    """Result of a task, or the reason of its failure.

    Attributes
    ----------
    id : str
    value : mapping or None
        Value that the task returned; None if it failed.
    cause : str
        Message for users about the failure.
    kind : FailureKind or None
        Kind of the failure; None if the task finished.
    traceback : str
        Traceback of an unexpected exception; ignored when results are compared.
    """

    id: str
    value: Mapping[str, Any] | None = None
    cause: str = ""
    kind: FailureKind | None = None
    traceback: str = field(default="", compare=False)

    @property
    def finished(self) -> bool:
        """Whether the task returned a value."""
        return self.value is not None

    @classmethod
    def failed(cls, task_id: str, error: Exception) -> TaskResult:
        """Return the result of a task that raised an exception."""
        kind = classify_failure(error)
        return cls(task_id, None, format_cause(error), kind, format_traceback(error))

    @classmethod
    def lost(cls, task_id: str, kind: FailureKind, cause: str = "") -> TaskResult:
        """Return the result of a task whose process was lost. Default: the kind's own cause."""
        return cls(task_id, None, cause or loss_message(kind), kind)

    def to_json(self) -> str:
        """Return the result as text, to be sent to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TaskResult:
        """Rebuild the result that `to_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "kind": FailureKind(fields["kind"]) if fields["kind"] else None})


class TaskCallback:
    """Callback for tasks in the driver; this base class does nothing and lets all tasks run."""

    @property
    def stopping(self) -> bool:
        """True: start no more tasks, and return when the running ones have ended."""
        return False

    @property
    def hurried(self) -> bool:
        """True: return at once and abandon running tasks."""
        return False

    def began(self, task_id: str) -> None:
        """Note that a task has started."""

    def died(self, task_id: str, cause: str) -> None:
        """Note that the process of a task was lost and that the task will be retried."""

    def ended(self, result: TaskResult) -> None:
        """Receive the result of a task."""


class Executor(Protocol):
    """Runs tasks and calls back as each ends; a failing task does not stop the others."""

    def require(self, groups: Collection[WorkerGroup]) -> None:
        """Check that these worker groups fit; InputError before anything has run."""

    def slots(self, group: WorkerGroup) -> int:
        """Return how many tasks with such a worker group can run at the same time."""

    def map(self, tasks: Sequence[Task], callback: TaskCallback) -> None:
        """Run short tasks without state (featurizing)."""

    def grid(self, tasks: Sequence[Task], callback: TaskCallback, *, folder: str) -> None:
        """Run encoder jobs or trials of a study; `folder` is for scratch files."""

    def close(self) -> None:
        """Release everything that was started."""


class LocalExecutor:
    """Runs every task in this process, one after the other, without Ray.

    A task may take `time_limit` seconds. Default: no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._limit = time_limit

    def require(self, groups: Collection[WorkerGroup]) -> None:
        """Check that every worker group is one process, and that there is a GPU if one needs it.

        Raises
        ------
        InputError
            A group has several workers, or there is no GPU. One process in place of several would
            give other results: dropout and batch statistics depend on the number of workers.
        """
        largest = max((group.workers for group in groups), default=1)
        if largest > 1:
            raise InputError(
                f"an encoder's training asks for {largest} workers, which needs Ray: leave "
                "--no-ray out, or set 'workers' in its 'training' to 1"
            )
        if any(group.gpus for group in groups):
            _check_gpu()

    def slots(self, group: WorkerGroup) -> int:  # noqa: ARG002 (part of the interface)
        """Return 1: this process."""
        return 1

    def map(self, tasks: Sequence[Task], callback: TaskCallback) -> None:
        """Run the tasks in order."""
        for task in tasks:
            if callback.stopping:
                return
            callback.began(task.id)
            callback.ended(attempt_task(task, self._limit))

    def grid(self, tasks: Sequence[Task], callback: TaskCallback, *, folder: str) -> None:  # noqa: ARG002 (part of the interface)
        """Run the tasks in order."""
        self.map(tasks, callback)

    def close(self) -> None:
        """Do nothing: nothing was started."""


class LazyExecutor:
    """An executor that is started when it gets its first task."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start = start
        self._started: Executor | None = None

    def _get_executor(self) -> Executor:
        if self._started is None:
            self._started = self._start()
        return self._started

    def require(self, groups: Collection[WorkerGroup]) -> None:
        """Check the worker groups, if there are any."""
        if groups:
            self._get_executor().require(groups)

    def slots(self, group: WorkerGroup) -> int:
        """Return how many tasks with such a worker group can run at the same time."""
        return self._get_executor().slots(group)

    def map(self, tasks: Sequence[Task], callback: TaskCallback) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._get_executor().map(tasks, callback)

    def grid(self, tasks: Sequence[Task], callback: TaskCallback, *, folder: str) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._get_executor().grid(tasks, callback, folder=folder)

    def close(self) -> None:
        """Close the executor, if it was started."""
        if self._started is not None:
            self._started.close()


def attempt_task(task: Task, limit: float | None = None) -> TaskResult:
    """Call a task, for at most `limit` seconds; an exception becomes the cause of its failure."""
    load_private_environment()
    _log.debug("task %s begins: %s", task.name, task.work)
    started = time.perf_counter()
    try:
        with raise_after(limit):
            result = TaskResult(task.id, task.call())
    except Exception as error:  # noqa: BLE001 (a task may raise anything; it must not stop the others)
        result = TaskResult.failed(task.id, error)
        _log.info("task %s failed (%s)", task.name, result.kind)
    else:
        _log.debug("task %s finished in %.1f s", task.name, time.perf_counter() - started)
    return result


def _check_gpu() -> None:
    import torch  # a study without a GPU never imports it in the driver

    if not torch.cuda.is_available():
        raise InputError(
            "the training needs a GPU and torch finds none (torch.cuda.is_available() is "
            "False); set 'run.gpus_per_worker' to 0, or install torch for the GPU of this machine"
        )


@dataclass(frozen=True)
class ResultCallback(TaskCallback):
    """Callback that passes on results alone, and lets all tasks run to their end.

    Attributes
    ----------
    on_result : function
        Called with each result.
    is_lost : function
        Whether another process has taken over the work; all tasks are then abandoned.
    """

    on_result: Callable[[TaskResult], None]
    is_lost: Callable[[], bool] = lambda: False

    @property
    def stopping(self) -> bool:
        """Whether another process has taken over."""
        return self.is_lost()

    @property
    def hurried(self) -> bool:
        """Whether another process has taken over."""
        return self.is_lost()

    def ended(self, result: TaskResult) -> None:
        """Pass on the result."""
        self.on_result(result)
