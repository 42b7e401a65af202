"""The ledger: one checksummed record per finished trial, named by the trial's identity."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from study.results.trial_result import TrialResult, read_origin
from study.storage.checksums import (
    UNREADABLE,
    LedgerError,
    add_checksum,
    add_json_checksum,
    verify_checksum,
    verify_json_checksum,
)
from study.storage.storage import Storage

__all__ = ["Failure", "Ledger", "LedgerError", "add_checksum", "verify_checksum"]

_log = logging.getLogger(__name__)
_SUFFIX = ".trial"
_FAILED = ".failed.json"
_ADVICE = "launch the study again: the file is set aside and its trial is run again"


@dataclass(frozen=True)
class Failure:
    """A failed trial and the cause of its failure.

    Attributes
    ----------
    id, trial : str
        Identity and name of the trial.
    cause : str
    traceback : str
        Traceback of an unexpected exception, otherwise ''.
    """

    id: str
    trial: str
    cause: str
    traceback: str = ""


class Ledger:
    """Finished trials on durable storage, shared by all studies of that storage.

    A record is written atomically before the result is reported to any callback. Its checksum is
    verified on every read; `sound` renames a damaged record to ``*.corrupt``.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def put(self, result: TrialResult) -> None:
        """Write a result, and remove an earlier failure record of the same trial."""
        self.storage.write(result.id + _SUFFIX, add_checksum(result.to_bytes()))
        self.storage.remove(result.id + _FAILED)
        _log.debug("result of trial %s is stored", result.id)

    def get(self, trial_id: str) -> TrialResult:
        """Read a result.

        Raises
        ------
        LedgerError
            The record is damaged or belongs to another trial.
        """
        return self._parse_result(trial_id, self.storage.read(trial_id + _SUFFIX))

    def get_many(self, trial_ids: Iterable[str]) -> Iterator[TrialResult]:
        """Yield results in any order with few storage calls; missing ones are skipped.

        Raises
        ------
        LedgerError
            As `get`.
        """
        for name, data in self.storage.read_many(trial_id + _SUFFIX for trial_id in trial_ids):
            yield self._parse_result(name.removesuffix(_SUFFIX), data)

    def read_origins(self, trial_ids: Iterable[str]) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield trial id, training code number and packages of each intact record."""
        for name, data in self.storage.read_many(trial_id + _SUFFIX for trial_id in trial_ids):
            with suppress(*UNREADABLE):
                code, packages = read_origin(verify_checksum(data, self.storage.path(name)))
                yield name.removesuffix(_SUFFIX), code, packages

    def _parse_result(self, trial_id: str, data: bytes) -> TrialResult:
        path = self.storage.path(trial_id + _SUFFIX)
        try:
            result = TrialResult.from_bytes(verify_checksum(data, path))
        except UNREADABLE as error:
            raise LedgerError(f"{error if path in str(error) else path}; {_ADVICE}") from error
        if result.id != trial_id:
            raise LedgerError(f"{path} holds the result of trial {result.id}; {_ADVICE}")
        return result

    def ids(self) -> set[str]:
        """Return the identities of all finished trials."""
        return {name.removesuffix(_SUFFIX) for name in self.storage.names(_SUFFIX)}

    def find_intact(self, trial_ids: Iterable[str]) -> tuple[set[str], list[str]]:
        """Return which of these trials have an intact record, and a message per damaged file.

        A damaged record is renamed to ``*.corrupt`` so that its trial runs again. The failure
        record of a trial that has a result is removed.
        """
        requested = set(trial_ids)
        sound_ids, damaged = set(), []
        names = (trial_id + _SUFFIX for trial_id in requested & self.ids())
        for name, data in self.storage.read_many(names):
            try:
                sound_ids.add(self._parse_result(name.removesuffix(_SUFFIX), data).id)
            except LedgerError as error:
                damaged.append(f"{self.storage.quarantine(name)} ({error})")
        # A process killed between the two steps of `put` leaves both records.
        for trial_id in sound_ids & self._failed_ids():
            self.storage.remove(trial_id + _FAILED)
        for name, data in self._read_failures(requested - sound_ids):
            try:
                self._parse_failure(name, data)
            except LedgerError as error:
                damaged.append(f"{self.storage.quarantine(name)} ({error})")
        return sound_ids, damaged

    def put_failure(self, failure: Failure) -> None:
        """Write why a trial failed; the next launch runs it again."""
        texts = asdict(failure)
        if not failure.traceback:
            del texts["traceback"]
        self.storage.write(failure.id + _FAILED, add_json_checksum(texts))
        _log.debug("failure of trial %s is stored", failure.id)

    def failures(self, trial_ids: Iterable[str]) -> list[Failure]:
        """Return the recorded failures among these trials.

        Raises
        ------
        LedgerError
            A record is damaged.
        """
        return [self._parse_failure(name, data) for name, data in self._read_failures(trial_ids)]

    def _failed_ids(self) -> set[str]:
        return {name.removesuffix(_FAILED) for name in self.storage.names(_FAILED)}

    def _read_failures(self, trial_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        failed = self._failed_ids()
        return self.storage.read_many(key + _FAILED for key in trial_ids if key in failed)

    def _parse_failure(self, name: str, data: bytes) -> Failure:
        path = self.storage.path(name)
        try:
            texts = verify_json_checksum(data, path, ("id", "trial", "cause"), ("traceback",))
            failure = Failure(**texts)
        except LedgerError as error:
            raise LedgerError(f"{error}; {_ADVICE}") from error
        if not all(isinstance(text, str) for text in asdict(failure).values()):
            raise LedgerError(f"{path}: every field of a failure must be text; {_ADVICE}")
        if failure.id + _FAILED != name:
            raise LedgerError(f"{path} belongs to trial {failure.id}; {_ADVICE}")
        return failure
