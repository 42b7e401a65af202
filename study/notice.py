"""The notice that this machine is about to be taken away: a file that a training looks for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from study.errors import StudyError

VARIABLE = "OLFACTION_NOTICE"
"""Environment variable with the path of the notice file."""

LEAVING = "its machine is about to be taken away"
"""Cause of a task that gave way to the notice: it goes on elsewhere from its checkpoint."""


class LeavingError(StudyError):
    """A task ends early, with its state kept, since its machine is about to be taken away."""


def notice_file() -> Path:
    """Return where a notice lies on this machine; without the variable in the temporary folder."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "olfaction-notice")


def given() -> bool:
    """Return whether there is a notice."""
    return notice_file().exists()
