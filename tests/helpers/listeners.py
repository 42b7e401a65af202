"""Listeners for tests of executors."""

from __future__ import annotations

import time
from pathlib import Path

from study.executors.base import TaskResult


class Asked:
    """A listener that keeps what it hears, and is asked to end as soon as a first task began, or
    as soon as there is a file.
    """

    def __init__(
        self, *, stop: bool = False, hurry: bool = False, hurry_at: Path | None = None
    ) -> None:
        self._stop, self._hurry, self._file = stop, hurry, hurry_at
        self._first: float | None = None
        self.told: list[tuple[str, str]] = []

    @property
    def stopping(self) -> bool:
        return (self._stop and self._first is not None) or self.hurried

    @property
    def hurried(self) -> bool:
        if self._file is not None:
            return self._file.exists()
        return self._hurry and self._first is not None

    @property
    def overdue(self) -> float:
        """Seconds since the listener became hurried."""
        assert self._first is not None
        return time.monotonic() - self._first

    def began(self, task_id: str) -> None:
        self._first = self._first or time.monotonic()
        self.told.append(("began", task_id))

    def died(self, task_id: str, cause: str) -> None:  # noqa: ARG002 (contract)
        self.told.append(("died", task_id))

    def ended(self, outcome: TaskResult) -> None:
        self.told.append(("ended" if outcome.finished else "failed", outcome.id))
