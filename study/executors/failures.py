"""Failures of tasks: their kinds, their messages, and the tracebacks that are kept."""

from __future__ import annotations

import traceback
from enum import StrEnum

from study.errors import OutOfMemoryError, PeerLostError, StorageError, StudyError
from study.executors.preemption import LEAVING, PreemptedError
from study.executors.timeouts import TimeLimitError

_DEEPEST = 100
"""Frames of a traceback that are kept, the innermost ones."""


class FailureKind(StrEnum):
    """Why a task has no value; the name travels in its outcome."""

    TASK_ERROR = "task error"
    """Raised by the task itself: another try would fail too."""
    OUT_OF_MEMORY = "out of memory"
    """Raised by the task itself, for lack of memory of the CPU or the GPU."""
    TIMED_OUT = "timed out"
    STORAGE_REFUSED = "storage refused"
    """The storage refused a file, as it would refuse those of the next task."""
    PREEMPTED = "preempted"
    """The machine is taken away after a notice."""
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
        """Whether the task may finish in another try, in another process."""
        return self in _LOSSES

    @property
    def costs_a_try(self) -> bool:
        """Whether such a loss counts as one of the tries of a task."""
        return self not in (FailureKind.PREEMPTED, FailureKind.BROKEN_OFF)


_LOSSES = {
    FailureKind.PREEMPTED: LEAVING,
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
    """Return the one line that tells users of a lost process."""
    return _LOSSES[kind]


def kind_of(error: Exception) -> FailureKind:
    """Return the kind of failure that an exception of a task means."""
    for raised, kind in _KINDS:
        if isinstance(error, raised):
            return kind
    return FailureKind.TASK_ERROR


def cause_of(error: Exception) -> str:
    """Return the message of an exception of a task; the type's name leads unless it is ours."""
    if isinstance(error, StudyError) and not isinstance(error, OutOfMemoryError):
        return str(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, MemoryError):
        what = text.splitlines()[0][:200]
        return (
            f"out of memory ({what}); lower 'batch_size' in the training, or give the trial a "
            "larger machine"
        )
    return text


def traceback_of(error: Exception) -> str:
    """Return the traceback of an unexpected exception, '' for one whose message is for users."""
    if isinstance(error, StudyError):
        return ""
    return "".join(traceback.format_exception(error, limit=-_DEEPEST))
