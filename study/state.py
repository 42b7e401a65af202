"""How a launch stands: written beside its study for `study status`, from anywhere, and shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from study.errors import StorageError
from study.storage import Storage
from study.tally import Progress, Tally

FILE = "progress.json"


class Counting:
    """A reporter that hands on how far the launch is.

    Parameters
    ----------
    show : function
        Takes the progress.
    interval : float
        Fewest seconds between two calls while a stage runs.
    """

    def __init__(self, show: Callable[[Progress], None], interval: float = 2.0) -> None:
        self._show, self._interval = show, interval
        self._tally, self._shown = Tally(), -interval

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._tally.stage(name, total)
        self._hand_on()

    def began(self, pieces: int = 1) -> None:
        """Count what runs."""
        self._tally.began(pieces)
        self._hand_on_at_times()

    def lost(self, pieces: int = 1) -> None:
        """Count what runs no more."""
        self._tally.lost(pieces)
        self._hand_on_at_times()

    def advance(
        self,
        note: str = "",  # noqa: ARG002 (contract)
        *,
        pieces: int = 1,
        failed: int = 0,
    ) -> None:
        """Count what is done."""
        self._tally.ended(pieces, failed=failed)
        self._hand_on_at_times()

    def note(self, text: str) -> None:
        """Nothing to count."""

    def close(self) -> None:
        """Hand on the last state."""
        self._hand_on()

    def _hand_on_at_times(self) -> None:
        if time.monotonic() - self._shown >= self._interval:
            self._hand_on()

    def _hand_on(self) -> None:
        self._shown = time.monotonic()
        self._show(self._tally.progress)


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
