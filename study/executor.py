"""Where work runs: the seam between a study and the machines, and its simplest form."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from study.errors import StudyError

Payload = Mapping[str, Any]
"""JSON scalars, lists and mappings: all that crosses a process border."""


@dataclass(frozen=True)
class Task:
    """One piece of work: a function by name and its plain argument.

    Attributes
    ----------
    id : str
        Identity of what the task makes.
    work : str
        ``package.module:function``; takes the payload, returns a plain mapping.
    payload : mapping
    """

    id: str
    work: str
    payload: Payload

    def call(self) -> Mapping[str, Any]:
        """Import the function and call it here; its result must be plain too."""
        module, _, name = self.work.partition(":")
        result = getattr(importlib.import_module(module), name)(self.payload)
        json.dumps(result)  # TypeError here, at the task that is to blame
        plain: Mapping[str, Any] = result
        return plain


@dataclass(frozen=True)
class Outcome:
    """How a task ended: `value` of a finished one, `cause` of a failed one."""

    id: str
    value: Mapping[str, Any] | None = None
    cause: str = ""

    @property
    def finished(self) -> bool:
        """Whether the task returned."""
        return self.value is not None


OnDone = Callable[[Outcome], None]


class Executor(Protocol):
    """Runs tasks and tells the driver of each as it ends; a failing task stops no other."""

    def map(self, tasks: Sequence[Task], on_done: OnDone) -> None:
        """Run short stateless tasks (featurizing)."""

    def grid(self, tasks: Sequence[Task], on_done: OnDone, *, folder: str) -> None:
        """Run the grid of a study (encoder jobs, trials); `folder` holds scratch files."""

    def close(self) -> None:
        """Give back what was started."""


class Inline:
    """Runs every task in this process, one after the other: no Ray, no surprises."""

    def map(self, tasks: Sequence[Task], on_done: OnDone) -> None:
        """Run the tasks in order."""
        for task in tasks:
            on_done(attempt(task))

    def grid(self, tasks: Sequence[Task], on_done: OnDone, *, folder: str) -> None:  # noqa: ARG002 (contract)
        """Run the tasks in order."""
        self.map(tasks, on_done)

    def close(self) -> None:
        """Nothing was started."""


class Deferred:
    """An executor that is started only when there is work for it."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start = start
        self._started: Executor | None = None

    def _executor(self) -> Executor:
        if self._started is None:
            self._started = self._start()
        return self._started

    def map(self, tasks: Sequence[Task], on_done: OnDone) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._executor().map(tasks, on_done)

    def grid(self, tasks: Sequence[Task], on_done: OnDone, *, folder: str) -> None:
        """Run the tasks, if there are any."""
        if tasks:
            self._executor().grid(tasks, on_done, folder=folder)

    def close(self) -> None:
        """Close what was started."""
        if self._started is not None:
            self._started.close()


def attempt(task: Task) -> Outcome:
    """Call a task; its exception becomes the cause of the outcome."""
    try:
        return Outcome(task.id, task.call())
    except StudyError as error:
        return Outcome(task.id, cause=str(error))
    except Exception as error:  # noqa: BLE001 (the border where any failure of one task must not hide the others)
        return Outcome(task.id, cause=f"{type(error).__name__}: {error}")
