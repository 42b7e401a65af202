"""Listeners for tests of executors."""

from __future__ import annotations

import time
from pathlib import Path

from study.executors.base import TaskResult


class Asked:
    """A listener that keeps what it hears, and is asked to end some seconds after a first task
    began, or as soon as there is a file.
    """

    def __init__(
        self, *, stop: float = 1e9, hurry: float = 1e9, hurry_at: Path | None = None
    ) -> None:
        self._stop, self._hurry, self._file = stop, hurry, hurry_at
        self._first: float | None = None
        self.told: list[tuple[str, str]] = []

    def _since(self, seconds: float) -> bool:
        return self._first is not None and time.monotonic() - self._first > seconds

    @property
    def stopping(self) -> bool:
        return self._since(self._stop) or self.hurried

    @property
    def hurried(self) -> bool:
        if self._file is not None:
            return self._file.exists()
        return self._since(self._hurry)

    @property
    def overdue(self) -> float:
        """Seconds since the listener became hurried."""
        assert self._first is not None
        return time.monotonic() - self._first - self._hurry

    def began(self, task_id: str) -> None:
        self._first = self._first or time.monotonic()
        self.told.append(("began", task_id))

    def died(self, task_id: str, cause: str) -> None:  # noqa: ARG002 (contract)
        self.told.append(("died", task_id))

    def ended(self, outcome: TaskResult) -> None:
        self.told.append(("ended" if outcome.finished else "failed", outcome.id))
