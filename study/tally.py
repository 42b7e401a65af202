"""How far a stage is: counts, and the time that is left."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a stage of a launch is.

    Attributes
    ----------
    stage : str
        ``features``, ``encoders`` or ``trials``; empty before the first.
    total, done, running, failed : int
        Pieces of the stage; `done` counts the failed ones too.
    seconds : float
        Since the stage began.
    """

    stage: str = ""
    total: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at the pace so far; None before the first piece is done."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None

    def __str__(self) -> str:
        """Return one line for a log."""
        parts = [f"{self.stage}: {self.done}/{self.total} done"]
        parts += [f"{self.running} running"] if self.running else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"about {duration(self.left)} left"] if self.left else []
        return ", ".join(parts)


class Tally:
    """Counts the pieces of a stage."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = Progress()

    @property
    def progress(self) -> Progress:
        """How far the stage is now."""
        last = self._last
        seconds = time.monotonic() - self._began
        return Progress(last.stage, last.total, last.done, last.running, last.failed, seconds)

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._began, self._last = time.monotonic(), Progress(name, total)

    def began(self, pieces: int = 1) -> None:
        """Count pieces that run."""
        last = self._last
        running = last.running + pieces
        self._last = Progress(last.stage, last.total, last.done, running, last.failed)

    def ended(self, pieces: int = 1, *, failed: int = 0) -> None:
        """Count pieces that are done, so many of them failed."""
        last = self._last
        running, count = max(0, last.running - pieces), last.failed + failed
        self._last = Progress(last.stage, last.total, last.done + pieces, running, count)

    def lost(self, pieces: int = 1) -> None:
        """Count pieces that run no more and are not done either."""
        last = self._last
        running = max(0, last.running - pieces)
        self._last = Progress(last.stage, last.total, last.done, running, last.failed)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
