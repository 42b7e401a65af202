"""What a running study tells: stages with a count and the time left, and notes."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """Hears of a study's progress."""

    def stage(self, name: str, total: int) -> None:
        """Begin a stage of so many pieces."""

    def advance(self, note: str = "") -> None:
        """One piece is done; a note is shown once."""

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""

    def close(self) -> None:
        """Nothing more will be said."""


class Silent:
    """Says nothing (tests, library use)."""

    def stage(self, name: str, total: int) -> None:
        """Say nothing."""

    def advance(self, note: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


class Bars:
    """Progress bars with elapsed time and time left on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._progress.start()
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """Begin a bar."""
        self._task = self._progress.add_task(name, total=total)

    def advance(self, note: str = "") -> None:
        """Move the bar on."""
        if self._task is not None:
            self._progress.advance(self._task)
        if note:
            self.note(note)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class Lines:
    """A line at the start of a stage and at most every `interval` seconds: for logs."""

    def __init__(self, console: Console, interval: float = 30.0) -> None:
        self._console, self._interval = console, interval
        self._name, self._total, self._done = "", 0, 0
        self._began = self._told = time.monotonic()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._name, self._total, self._done = name, total, 0
        self._began = self._told = time.monotonic()
        self.note(f"{name}: {total} to do")

    def advance(self, note: str = "") -> None:
        """Count one, and say how far the stage is if the last line is old enough."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= self._interval and self._done < self._total:
            self._told = now
            spent = now - self._began
            left = spent / self._done * (self._total - self._done)
            self.note(f"{self._name}: {self._done}/{self._total}, about {left:.0f} s left")
        if note:
            self.note(note)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing to put away."""


def reporter(console: Console) -> Reporter:
    """Return bars for a terminal and lines for anything else."""
    return Bars(console) if console.is_terminal else Lines(console)
