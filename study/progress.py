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

from study.tally import Tally


class Reporter(Protocol):
    """Hears of a study's progress."""

    def stage(self, name: str, total: int) -> None:
        """Begin a stage of so many pieces."""

    def began(self, pieces: int = 1) -> None:
        """Pieces of the stage run now: those of a task, which begin and end together."""

    def lost(self, pieces: int = 1) -> None:
        """Pieces run no more and are not done: they will be tried again."""

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Pieces are done, so many of them failed; a note is shown once."""

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""

    def close(self) -> None:
        """Nothing more will be said."""


class Silent:
    """Says nothing (tests, library use)."""

    def stage(self, name: str, total: int) -> None:
        """Say nothing."""

    def began(self, pieces: int = 1) -> None:
        """Say nothing."""

    def lost(self, pieces: int = 1) -> None:
        """Say nothing."""

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
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
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._progress.start()
        self._task: TaskID | None = None
        self._tally = Tally()

    def stage(self, name: str, total: int) -> None:
        """Begin a bar."""
        self._tally.stage(name, total)
        self._task = self._progress.add_task(name, total=total, counts="")

    def began(self, pieces: int = 1) -> None:
        """Count what runs."""
        self._tally.began(pieces)
        self._show()

    def lost(self, pieces: int = 1) -> None:
        """Count what runs no more."""
        self._tally.lost(pieces)
        self._show()

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Move the bar on."""
        self._tally.ended(pieces, failed=failed)
        self._show()
        if note:
            self.note(note)

    def _show(self) -> None:
        now = self._tally.progress
        parts = {"running": now.running, "failed": now.failed}
        counts = ", ".join(f"{count} {word}" for word, count in parts.items() if count)
        if self._task is not None:
            self._progress.update(self._task, completed=now.done, counts=counts)

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
        self._tally, self._told = Tally(), time.monotonic()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._tally.stage(name, total)
        self._told = time.monotonic()
        self.note(f"{name}: {total} to do")

    def began(self, pieces: int = 1) -> None:
        """Count what runs."""
        self._tally.began(pieces)

    def lost(self, pieces: int = 1) -> None:
        """Count what runs no more."""
        self._tally.lost(pieces)

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Count it, and say how far the stage is if the last line is old enough."""
        self._tally.ended(pieces, failed=failed)
        now, progress = time.monotonic(), self._tally.progress
        if now - self._told >= self._interval and progress.done < progress.total:
            self._told = now
            self.note(str(progress))
        if note:
            self.note(note)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing to put away."""


class Together:
    """Several reporters as one."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def stage(self, name: str, total: int) -> None:
        """Tell each."""
        for each in self._reporters:
            each.stage(name, total)

    def began(self, pieces: int = 1) -> None:
        """Tell each."""
        for each in self._reporters:
            each.began(pieces)

    def lost(self, pieces: int = 1) -> None:
        """Tell each."""
        for each in self._reporters:
            each.lost(pieces)

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Tell each."""
        for each in self._reporters:
            each.advance(note, pieces=pieces, failed=failed)

    def note(self, text: str) -> None:
        """Tell each."""
        for each in self._reporters:
            each.note(text)

    def close(self) -> None:
        """Close each."""
        for each in self._reporters:
            each.close()


def reporter(console: Console) -> Reporter:
    """Return bars for a terminal and lines for anything else."""
    return Bars(console) if console.is_terminal else Lines(console)
