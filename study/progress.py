"""Progress of a launch: callback, progress bars, log lines, and the counts they show."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported by the bars alone, since every command imports this module
    from rich.console import Console
    from rich.progress import TaskID


@dataclass(frozen=True)
class Progress:
    """Progress of a stage of a launch.

    Attributes
    ----------
    stage : str
        ``features``, ``encoders`` or ``trials``; empty before the first.
    total, done, running, failed : int
        Numbers of pieces; `done` includes failed ones.
    seconds : float
        Time since the stage began.
    """

    stage: str = ""
    total: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds left at the pace so far; None before the first piece is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None

    def __str__(self) -> str:
        """Return one line for a log."""
        parts = [f"{self.stage}: {self.done}/{self.total} done"]
        parts += [f"{self.running} running"] if self.running else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"about {format_duration(self.left)} left"] if self.left else []
        return ", ".join(parts)


class ProgressCallback:
    """Callback for the progress of a launch; the methods of this base class do nothing."""

    def stage(self, name: str, total: int) -> None:
        """Begin a stage with this many pieces."""

    def began(self, pieces: int = 1) -> None:
        """Note that the pieces of a task have started; they begin and end together."""

    def lost(self, pieces: int = 1) -> None:
        """Note that running pieces were lost; they will be retried."""

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Note that pieces are done, `failed` of them without success; show `note` if given."""

    def note(self, text: str) -> None:
        """Show a message that stays on the screen."""

    def close(self) -> None:
        """Release resources; no other call follows."""


class CountingCallback(ProgressCallback):
    """Counts the pieces of the current stage, for subclasses that show them."""

    def __init__(self) -> None:
        self._started, self._last = time.monotonic(), Progress()

    @property
    def progress(self) -> Progress:
        """Progress of the stage at this moment."""
        return replace(self._last, seconds=time.monotonic() - self._started)

    def stage(self, name: str, total: int) -> None:
        """Begin to count a stage."""
        self._started, self._last = time.monotonic(), Progress(name, total)

    def began(self, pieces: int = 1) -> None:
        """Count pieces as running."""
        self._add(running=pieces)

    def lost(self, pieces: int = 1) -> None:
        """Count pieces as no longer running."""
        self._add(running=-pieces)

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Count pieces as done, then show the note."""
        self._add(running=-pieces, done=pieces, failed=failed)
        if note:
            self.note(note)

    def changed(self) -> None:
        """Show the changed counts; overridden in subclasses."""

    def _add(self, *, running: int, done: int = 0, failed: int = 0) -> None:
        last = self._last
        # Tasks in this process may be reported by `advance` alone: they never counted as running.
        self._last = replace(
            last,
            running=max(0, last.running + running),
            done=last.done + done,
            failed=last.failed + failed,
        )
        self.changed()


class RichProgress(CountingCallback):
    """Progress bars with elapsed time and time left, for a terminal or a notebook.

    Parameters
    ----------
    console : rich.console.Console, optional
        Default: standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        import rich.console
        import rich.progress

        super().__init__()
        self._console = console = console or rich.console.Console()
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:<12}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[counts]}"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=console,
        )
        self._bars.start()
        self._task: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """Begin a bar."""
        super().stage(name, total)
        self._task = self._bars.add_task(name, total=total, counts="")

    def changed(self) -> None:
        """Update the bar of the stage."""
        now = self.progress
        parts = {"running": now.running, "failed": now.failed}
        counts = ", ".join(f"{count} {word}" for word, count in parts.items() if count)
        if self._task is not None:
            self._bars.update(self._task, completed=now.done, counts=counts)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop updating and leave the bars as they are."""
        self._bars.stop()


class LogProgress(CountingCallback):
    """Log lines at the start of a stage and at most every `interval` seconds."""

    def __init__(self, console: Console, interval: float = 30.0) -> None:
        super().__init__()
        self._console, self._interval, self._printed = console, interval, time.monotonic()

    def stage(self, name: str, total: int) -> None:
        """Print the name and size of the stage."""
        super().stage(name, total)
        self._printed = time.monotonic()
        self.note(f"{name}: {total} to do")

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Count pieces as done, and print the progress if the last line is old enough."""
        super().advance(pieces=pieces, failed=failed)
        now, progress = time.monotonic(), self.progress
        if now - self._printed >= self._interval and progress.done < progress.total:
            self._printed = now
            self.note(str(progress))
        if note:
            self.note(note)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class CallbackList(ProgressCallback):
    """Passes each call to several callbacks, in order."""

    def __init__(self, *callbacks: ProgressCallback) -> None:
        self._callbacks = callbacks

    def stage(self, name: str, total: int) -> None:
        """Begin a stage in all callbacks."""
        for callback in self._callbacks:
            callback.stage(name, total)

    def began(self, pieces: int = 1) -> None:
        """Pass on that pieces have started."""
        for callback in self._callbacks:
            callback.began(pieces)

    def lost(self, pieces: int = 1) -> None:
        """Pass on that running pieces were lost."""
        for callback in self._callbacks:
            callback.lost(pieces)

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:
        """Pass on that pieces are done."""
        for callback in self._callbacks:
            callback.advance(note, pieces=pieces, failed=failed)

    def note(self, text: str) -> None:
        """Show the message in all callbacks."""
        for callback in self._callbacks:
            callback.note(text)

    def close(self) -> None:
        """Close all callbacks."""
        for callback in self._callbacks:
            callback.close()


def build_progress(console: Console) -> ProgressCallback:
    """Return progress bars for a terminal, and log lines for anything else."""
    return RichProgress(console) if console.is_terminal else LogProgress(console)


def format_duration(seconds: float) -> str:
    """Format a duration: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
