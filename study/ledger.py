"""What is known: one atomic, checksummed record a finished trial, keyed by the trial's identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from study.errors import StudyError
from study.result import TrialResult
from study.storage import Storage

_MAGIC = b"olfaction-study trial 1 "
_SUFFIX = ".trial"
_FAILED = ".failed.json"


class LedgerError(StudyError):
    """A record that is not what was written; the message names the file."""


@dataclass(frozen=True)
class Failure:
    """Why a trial could not be finished."""

    id: str
    trial: str
    cause: str


class Ledger:
    """Finished trials on durable storage, shared by all studies of that storage.

    A record is written once, whole, before anything else hears of the result. Reading proves
    its checksum; a damaged record is set aside under ``*.corrupt`` by `set_aside`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def put(self, result: TrialResult) -> None:
        """Write a result; an earlier failure of the same trial is forgotten."""
        self.storage.write(result.id + _SUFFIX, seal(result.to_bytes()))
        if self.storage.exists(result.id + _FAILED):
            self.storage.remove(result.id + _FAILED)

    def get(self, trial_id: str) -> TrialResult:
        """Read a result.

        Raises
        ------
        LedgerError
            The record is damaged or belongs to another trial.
        """
        name = trial_id + _SUFFIX
        payload = unseal(self.storage.read(name), self.storage.path(name))
        result = TrialResult.from_bytes(payload)
        if result.id != trial_id:
            raise LedgerError(f"{self.storage.path(name)} holds the trial {result.id}")
        return result

    def ids(self) -> set[str]:
        """Return the identities of all finished trials."""
        return {name.removesuffix(_SUFFIX) for name in self.storage.names(_SUFFIX)}

    def sound(self, trial_ids: Iterable[str]) -> tuple[set[str], list[str]]:
        """Return which of these trials have a sound record, and the files set aside.

        A damaged record is renamed to ``*.corrupt`` so that its trial runs again.
        """
        found, damaged = set(), []
        for trial_id in set(trial_ids) & self.ids():
            try:
                self.get(trial_id)
            except (LedgerError, ValueError, KeyError) as error:
                damaged.append(f"{self.set_aside(trial_id)} ({error})")
            else:
                found.add(trial_id)
        return found, damaged

    def set_aside(self, trial_id: str) -> str:
        """Rename a damaged record; return its new path."""
        name = trial_id + _SUFFIX
        self.storage.rename(name, name + ".corrupt")
        return self.storage.path(name + ".corrupt")

    def put_failure(self, failure: Failure) -> None:
        """Remember why a trial failed; a relaunch tries it again."""
        data = json.dumps(asdict(failure), sort_keys=True).encode()
        self.storage.write(failure.id + _FAILED, data)

    def failures(self, trial_ids: Iterable[str]) -> list[Failure]:
        """Return the recorded failures among these trials."""
        names = set(self.storage.names(_FAILED))
        wanted = [trial_id + _FAILED for trial_id in trial_ids if trial_id + _FAILED in names]
        return [Failure(**json.loads(self.storage.read(name))) for name in wanted]


def seal(payload: bytes) -> bytes:
    """Put a checksum line before a payload."""
    return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def unseal(data: bytes, place: str) -> bytes:
    """Return the payload of `seal`; LedgerError naming `place` if a byte differs."""
    line, _, payload = data.partition(b"\n")
    if not line.startswith(_MAGIC):
        raise LedgerError(f"{place}: not a trial record")
    if hashlib.sha256(payload).hexdigest().encode() != line.removeprefix(_MAGIC):
        raise LedgerError(f"{place}: the checksum does not fit; the record is damaged")
    return payload
