"""What a running study tells: stages with a count and the time left, and notes."""

from __future__ import annotations

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
    """Progress bars with elapsed time and time left; plain lines where there is no terminal."""

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
            disable=not console.is_terminal,
        )
        self._progress.start()
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """Begin a bar."""
        self._task = self._progress.add_task(name, total=total)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {total} to do")

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
