"""Failures of tasks: their kinds, messages for users, and tracebacks."""

from __future__ import annotations

import traceback
from enum import StrEnum

from study.errors import OutOfMemoryError, PeerLostError, StorageError, StudyError
from study.executors.preemption import PREEMPTION_CAUSE, PreemptedError
from study.executors.timeouts import TimeLimitError

_DEEPEST = 100
"""Most frames of a traceback, of which the innermost are kept."""


class FailureKind(StrEnum):
    """Reason why a task returned no value; its text is sent in the task's result."""

    TASK_ERROR = "task error"
    """Raised by the task itself: a retry would fail too."""
    OUT_OF_MEMORY = "out of memory"
    """Raised by the task itself, for lack of CPU or GPU memory."""
    TIMED_OUT = "timed out"
    STORAGE_REFUSED = "storage refused"
    """The storage could not write or read a file, and would fail for the next task too."""
    PREEMPTED = "preempted"
    """The machine is taken away after a preemption notice."""
    BROKEN_OFF = "broken off"
    """Ended by the executor together with another task."""
    PROCESS_LOST = "process lost"
    NODE_LOST = "node lost"
    NODE_OUT_OF_MEMORY = "node out of memory"
    """Ray ended the process to free memory of its machine."""
    PEER_LOST = "peer lost"
    """Another process of the same training died."""

    @property
    def is_loss(self) -> bool:
        """Whether the process of the task was lost, so that a retry may succeed."""
        return self in _LOSSES

    @property
    def costs_a_try(self) -> bool:
        """Whether such a loss counts as one of the task's retries."""
        return self not in (FailureKind.PREEMPTED, FailureKind.BROKEN_OFF)


_LOSSES = {
    FailureKind.PREEMPTED: PREEMPTION_CAUSE,
    FailureKind.BROKEN_OFF: "Ray Tune ended it with another task, whose machine ran out of memory",
    FailureKind.PROCESS_LOST: "its process died (killed, crashed or out of memory)",
    FailureKind.NODE_LOST: "its machine left the cluster",
    FailureKind.NODE_OUT_OF_MEMORY: "its process was ended since its machine ran out of memory",
    FailureKind.PEER_LOST: "another process of its training died",
}
_KINDS = (
    (TimeLimitError, FailureKind.TIMED_OUT),
    (PreemptedError, FailureKind.PREEMPTED),
    (PeerLostError, FailureKind.PEER_LOST),
    (StorageError, FailureKind.STORAGE_REFUSED),
    (MemoryError, FailureKind.OUT_OF_MEMORY),
)


def loss_message(kind: FailureKind) -> str:
    """Return the message for users about a lost process."""
    return _LOSSES[kind]


def classify_failure(error: Exception) -> FailureKind:
    """Return the kind of failure of a task that raised this exception."""
    for error_type, kind in _KINDS:
        if isinstance(error, error_type):
            return kind
    return FailureKind.TASK_ERROR


def format_cause(error: Exception) -> str:
    """Return the message for users about a task's exception, after its type unless it is ours."""
    if isinstance(error, StudyError) and not isinstance(error, OutOfMemoryError):
        return str(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, MemoryError):
        first_line = text.splitlines()[0][:200]
        return (
            f"out of memory ({first_line}); lower 'batch_size' in the training, or give the trial "
            "a larger machine"
        )
    return text


def format_traceback(error: Exception) -> str:
    """Return the traceback of an unexpected exception; '' if its message is meant for users."""
    if isinstance(error, StudyError):
        return ""
    return "".join(traceback.format_exception(error, limit=-_DEEPEST))
