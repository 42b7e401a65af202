"""Why a task failed, or why its process was lost, in one line; knows only the words of Ray."""

from __future__ import annotations

import re

from study.errors import StudyError

_NO_MEMORY = re.compile(r"CUDA out of memory|can't allocate memory|CUDNN_STATUS_ALLOC_FAILED")
_LITTLE_MEMORY = re.compile(r"OutOfMemoryError|OOM kill reason")
_MACHINE = re.compile(r"NodeDiedError|node has died|node died|node was terminated|its node")

PROCESS = "its process died (killed, crashed or out of memory)"
MACHINE = "its machine left the cluster"
MEMORY = "its process was ended since its machine ran out of memory"
BYSTANDER = "Ray Tune ended it with another task, whose machine ran out of memory"


def own_cause(error: Exception) -> str:
    """Return why a task failed by its own error."""
    if isinstance(error, StudyError):
        return str(error)
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        what = text.splitlines()[0][:200]
        return (
            f"out of memory ({what}); lower 'batch_size' in the training, or give the trial a "
            "larger machine"
        )
    return text


def death(error: BaseException | str) -> str:
    """Return why the process of a task was lost, out of Ray's error, whose text can fill pages."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    if _LITTLE_MEMORY.search(text):
        return MEMORY
    return MACHINE if _MACHINE.search(text) else PROCESS
