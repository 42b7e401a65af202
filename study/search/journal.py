"""A search that was killed goes on: what its candidates reached, and the training under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.checkpoints import Checkpoints
from study.errors import StudyError
from study.ranks import Ranks
from study.search.trainer import Reached

REFIT = "the chosen numbers"


class Journal:
    """Results of candidates in the checkpoint of their trial; nothing is kept without one.

    A resumed search draws the same configurations again, and takes what is known of them from
    here.

    Parameters
    ----------
    checkpoints : Checkpoints or None
        Of the trial.
    ranks : Ranks
        Place of this process; the first one writes, all of them read.

    Raises
    ------
    StudyError
        The processes read different journals.
    """

    def __init__(self, checkpoints: Checkpoints | None, ranks: Ranks) -> None:
        self.checkpoints, self._ranks = checkpoints, ranks
        state = checkpoints.load() if checkpoints is not None else None
        self._state: dict[str, Any] = dict(state or {"reached": {}, "name": "", "state": None})
        known = len(self._state["reached"])
        if ranks.total([known])[0] != known * ranks.size:
            raise StudyError(
                f"process {ranks.rank} reads {known} results of a search and others another "
                "number: every machine must see the same storage"
            )

    def known(self, name: str) -> Reached | None:
        """Return what a candidate reached before."""
        found = self._state["reached"].get(name)
        return Reached(**{**found, "monitored": tuple(found["monitored"])}) if found else None

    def note(self, name: str, reached: Reached) -> None:
        """Keep what a candidate reached; its training is over."""
        plain = {**asdict(reached), "monitored": list(reached.monitored)}
        results = {**self._state["reached"], name: plain}
        self._write({"reached": results, "name": "", "state": None})

    def under_way(self, name: str) -> Checkpoints | None:
        """Return the place of the checkpoints of one training inside the journal."""
        return None if self.checkpoints is None else _Inner(self, name)

    def state_of(self, name: str) -> Mapping[str, Any] | None:
        """Return the last state of the training under way, if it has this name."""
        return self._state["state"] if self._state["name"] == name else None

    def keep(self, name: str, state: Mapping[str, Any] | None) -> None:
        """Keep a state of the training of this name."""
        self._write({**self._state, "name": name, "state": state})

    def _write(self, state: dict[str, Any]) -> None:
        self._state = state
        if self.checkpoints is not None and self._ranks.is_first:
            self.checkpoints.save(state)


@dataclass(frozen=True)
class _Inner:
    """Checkpoints of one training of a search."""

    journal: Journal
    name: str

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state of this training."""
        return self.journal.state_of(self.name)

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state."""
        self.journal.keep(self.name, state)

    def clear(self) -> None:
        """Forget it."""
        self.journal.keep("", None)
