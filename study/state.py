"""How a launch stands: written beside its study for `study status`, from anywhere, and shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from study.errors import StorageError
from study.progress import Progress, Tally
from study.storage import Storage

FILE = "progress.json"


class Counting(Tally):
    """A reporter that hands on how far the launch is.

    Parameters
    ----------
    show : function
        Takes the progress.
    interval : float
        Fewest seconds between two calls while a stage runs.
    """

    def __init__(self, show: Callable[[Progress], None], interval: float = 2.0) -> None:
        super().__init__()
        self._show, self._interval, self._shown = show, interval, -interval

    def stage(self, name: str, total: int) -> None:
        """Begin a stage, and hand it on at once."""
        super().stage(name, total)
        self._hand_on()

    def changed(self) -> None:
        """Hand on the progress if the last time is long enough ago."""
        if time.monotonic() - self._shown >= self._interval:
            self._hand_on()

    def close(self) -> None:
        """Hand on the last state."""
        self._hand_on()

    def _hand_on(self) -> None:
        self._shown = time.monotonic()
        self._show(self.progress)


def state_file(storage: Storage) -> Counting:
    """Return a reporter that writes how far the launch is; a full disk does not stop it."""

    def write(progress: Progress) -> None:
        try:
            storage.write(FILE, json.dumps(asdict(progress)).encode())
        except (StorageError, OSError):  # what counts is the ledger, which names its own trouble
            return

    return Counting(write)


def read_state(storage: Storage) -> Progress | None:
    """Return what a launch wrote last; None if nothing that can be read."""
    try:
        return Progress(**json.loads(storage.read(FILE)))
    except (OSError, StorageError, ValueError, TypeError):
        return None
