"""The contract of an executor: tasks, their results, and the executor within this process."""

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
from study.executors.failures import FailureKind, cause_of, kind_of, loss_message, traceback_of
from study.executors.timeouts import raise_after

_log = logging.getLogger(__name__)

Payload = Mapping[str, Any]
"""JSON scalars, lists and mappings: all that crosses a process border."""


@dataclass(frozen=True)
class WorkerGroup:
    """The processes that share the training of an encoder.

    Attributes
    ----------
    workers : int
        Replicas, one process each; several find themselves in one torch process group.
    gpus : float
        GPUs that each process reserves; 0: it computes on the CPU.
    """

    workers: int = 1
    gpus: float = 0.0


@dataclass(frozen=True)
class Task:
    """One piece of work: a function by name and its plain argument.

    Attributes
    ----------
    id : str
        Identity of what the task makes.
    work : str
        ``package.module:function``; takes the payload, returns a plain mapping. Of a crew of
        several, every process calls it and the first one's value counts.
    payload : mapping
    crew : WorkerGroup or None
        Who runs an encoder; None for what needs none (features, heads): one process on a CPU.
    title : str
        What people call it; without it the identity.
    pieces : int
        How many pieces of the stage it is: the trials of a pack.
    """

    id: str
    work: str
    payload: Payload
    crew: WorkerGroup | None = None
    title: str = ""
    pieces: int = 1

    @property
    def name(self) -> str:
        """What people call the task."""
        return self.title or self.id

    def call(self) -> Mapping[str, Any]:
        """Import the function and call it here; its result must be plain too."""
        module, _, name = self.work.partition(":")
        result = getattr(importlib.import_module(module), name)(self.payload)
        json.dumps(result)  # TypeError here, at the task that is to blame
        plain: Mapping[str, Any] = result
        return plain


@dataclass(frozen=True)
class TaskResult:
    """How a task ended.

    Attributes
    ----------
    id : str
    value : mapping or None
        What a finished task returned; None if it failed.
    cause : str
        Message for users of a failed task.
    kind : FailureKind or None
        Why it failed; None if it finished.
    traceback : str
        Of a failure that nobody foresaw; two outcomes that differ only here are equal.
    """

    id: str
    value: Mapping[str, Any] | None = None
    cause: str = ""
    kind: FailureKind | None = None
    traceback: str = field(default="", compare=False)

    @property
    def finished(self) -> bool:
        """Whether the task returned."""
        return self.value is not None

    @classmethod
    def failed(cls, task_id: str, error: Exception) -> TaskResult:
        """Return the outcome of a task that raised an exception."""
        return cls(task_id, None, cause_of(error), kind_of(error), traceback_of(error))

    @classmethod
    def lost(cls, task_id: str, kind: FailureKind, cause: str = "") -> TaskResult:
        """Return the outcome of a task whose process was lost; the kind has a cause of its own."""
        return cls(task_id, None, cause or loss_message(kind), kind)

    def to_json(self) -> str:
        """Return the outcome as text, to cross a process border."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TaskResult:
        """Return the outcome that `to_json` wrote."""
        said = json.loads(text)
        return cls(**{**said, "kind": FailureKind(said["kind"]) if said["kind"] else None})


class TaskCallback:
    """Callback for tasks, in the driver; the base class does nothing and lets all of them run."""

    @property
    def stopping(self) -> bool:
        """True: begin nothing more, and return when what runs has ended."""
        return False

    @property
    def hurried(self) -> bool:
        """True: return at once, leaving what runs."""
        return False

    def began(self, task_id: str) -> None:
        """Note that a task runs now."""

    def died(self, task_id: str, cause: str) -> None:
        """Note that the process of a task was lost, and that the task is tried again."""

    def ended(self, outcome: TaskResult) -> None:
        """Take the outcome of a task."""


class Executor(Protocol):
    """Runs tasks and tells the driver of each as it ends; a failing task stops no other."""

    def require(self, crews: Collection[WorkerGroup]) -> None:
        """Check that there is room for these crews; InputError before anything has run."""

    def slots(self, crew: WorkerGroup) -> int:
        """Return how many tasks with this crew can run at once."""

    def map(self, tasks: Sequence[Task], listener: TaskCallback) -> None:
        """Run short stateless tasks (featurizing)."""

    def grid(self, tasks: Sequence[Task], listener: TaskCallback, *, folder: str) -> None:
        """Run the grid of a study (encoder jobs, trials); `folder` holds scratch files."""

    def close(self) -> None:
        """Give back what was started."""


class LocalExecutor:
    """Runs every task in this process, one after the other: no Ray, no surprises.

    A task may take `time_limit` seconds, if there is a limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._limit = time_limit

    def require(self, crews: Collection[WorkerGroup]) -> None:
        """Check that every crew is one process, and that a GPU that is asked for is there.

        Raises
        ------
        InputError
            It is not so. One process in place of several would give other numbers: dropout and
            batch statistics depend on the number of workers.
        """
        wide = max((crew.workers for crew in crews), default=1)
        if wide > 1:
            raise InputError(
                f"an encoder's training asks for {wide} workers, which needs Ray: leave --no-ray "
                "out, or set 'workers' in its 'training' to 1"
            )
        if any(crew.gpus for crew in crews):
            _check_gpu()

    def slots(self, crew: WorkerGroup) -> int:  # noqa: ARG002 (contract)
        """Return 1: this process."""
        return 1

    def map(self, tasks: Sequence[Task], listener: TaskCallback) -> None:
        """Run the tasks in order."""
        for task in tasks:
            if listener.stopping:
                return
            listener.began(task.id)
            listener.ended(attempt_task(task, self._limit))

    def grid(self, tasks: Sequence[Task], listener: TaskCallback, *, folder: str) -> None:  # noqa: ARG002 (contract)
        """Run the tasks in order."""
        self.map(tasks, listener)

    def close(self) -> None:
        """Nothing was started."""


class LazyExecutor:
    """An executor that is started only when there is work for it."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start = start
        self._started: Executor | None = None

    def _executor(self) -> Executor:
        if self._started is None:
            self._started = self._start()
        return self._started

    def require(self, crews: Collection[WorkerGroup]) -> None:
        """Check the crews, if there are any."""
        if crews:
            self._executor().require(crews)

    def slots(self, crew: WorkerGroup) -> int:
        """Ask the executor."""
        return self._executor().slots(crew)

    def map(self, tasks: Sequence[Task], listener: TaskCallback) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._executor().map(tasks, listener)

    def grid(self, tasks: Sequence[Task], listener: TaskCallback, *, folder: str) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._executor().grid(tasks, listener, folder=folder)

    def close(self) -> None:
        """Close what was started."""
        if self._started is not None:
            self._started.close()


def attempt_task(task: Task, limit: float | None = None) -> TaskResult:
    """Call a task, for so many seconds at most; its exception becomes the cause of the outcome."""
    load_private_environment()
    _log.debug("task %s begins: %s", task.name, task.work)
    began = time.perf_counter()
    try:
        with raise_after(limit):
            outcome = TaskResult(task.id, task.call())
    except Exception as error:  # noqa: BLE001 (the border where any failure of one task must not hide the others)
        outcome = TaskResult.failed(task.id, error)
        _log.info("task %s failed (%s)", task.name, outcome.kind)
    else:
        _log.debug("task %s finished in %.1f s", task.name, time.perf_counter() - began)
    return outcome


def _check_gpu() -> None:
    import torch  # a study without a GPU never imports it in the driver

    if not torch.cuda.is_available():
        raise InputError(
            "the training was given a GPU and torch finds none (torch.cuda.is_available() is "
            "False); set 'run.gpus_per_worker' to 0, or install torch for the GPU of this machine"
        )


@dataclass(frozen=True)
class ResultCallback(TaskCallback):
    """A listener to outcomes alone, which lets everything run to its end.

    Attributes
    ----------
    take : function
        Told of each outcome.
    lost : function
        Whether the work is another process's by now, so that everything is left.
    """

    take: Callable[[TaskResult], None]
    lost: Callable[[], bool] = lambda: False

    @property
    def stopping(self) -> bool:
        """Whether the work was lost."""
        return self.lost()

    @property
    def hurried(self) -> bool:
        """Whether the work was lost."""
        return self.lost()

    def ended(self, outcome: TaskResult) -> None:
        """Pass the outcome on."""
        self.take(outcome)
