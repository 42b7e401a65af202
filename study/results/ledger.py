"""What is known: one atomic, checksummed record a finished trial, keyed by the trial's identity."""

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
_ANEW = "launch the study again: the file is set aside and its trial runs anew"


@dataclass(frozen=True)
class Failure:
    """Why a trial could not be finished.

    Attributes
    ----------
    id, trial : str
        Identity and name of the trial.
    cause : str
    traceback : str
        Of an exception that nobody foresaw, otherwise ''.
    """

    id: str
    trial: str
    cause: str
    traceback: str = ""


class Ledger:
    """Finished trials on durable storage, shared by all studies of that storage.

    A record is written once, whole, before anything else hears of the result. Reading proves
    its checksum; a damaged record is set aside under ``*.corrupt`` by `sound`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def put(self, result: TrialResult) -> None:
        """Write a result; an earlier failure of the same trial is forgotten."""
        self.storage.write(result.id + _SUFFIX, add_checksum(result.to_bytes()))
        self.storage.remove(result.id + _FAILED)
        _log.debug("result of trial %s is kept", result.id)

    def get(self, trial_id: str) -> TrialResult:
        """Read a result.

        Raises
        ------
        LedgerError
            The record is damaged or belongs to another trial.
        """
        return self._opened(trial_id, self.storage.read(trial_id + _SUFFIX))

    def get_many(self, trial_ids: Iterable[str]) -> Iterator[TrialResult]:
        """Yield results, in any order, in few calls; those that are not there are left out.

        Raises
        ------
        LedgerError
            As `get`.
        """
        for name, data in self.storage.read_many(trial_id + _SUFFIX for trial_id in trial_ids):
            yield self._opened(name.removesuffix(_SUFFIX), data)

    def origins(self, trial_ids: Iterable[str]) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield identity, training code and packages of records; damaged ones are left out."""
        for name, data in self.storage.read_many(trial_id + _SUFFIX for trial_id in trial_ids):
            with suppress(*UNREADABLE):
                found = read_origin(verify_checksum(data, self.storage.path(name)))
                yield name.removesuffix(_SUFFIX), *found

    def _opened(self, trial_id: str, data: bytes) -> TrialResult:
        place = self.storage.path(trial_id + _SUFFIX)
        try:
            result = TrialResult.from_bytes(verify_checksum(data, place))
        except UNREADABLE as error:
            raise LedgerError(f"{error if place in str(error) else place}; {_ANEW}") from error
        if result.id != trial_id:
            raise LedgerError(f"{place} holds the trial {result.id}; {_ANEW}")
        return result

    def ids(self) -> set[str]:
        """Return the identities of all finished trials."""
        return {name.removesuffix(_SUFFIX) for name in self.storage.names(_SUFFIX)}

    def sound(self, trial_ids: Iterable[str]) -> tuple[set[str], list[str]]:
        """Return which of these trials have a sound record, and the files set aside.

        A damaged record is renamed to ``*.corrupt`` so that its trial runs again; a failure that
        a result has overtaken is forgotten.
        """
        wanted = set(trial_ids)
        found, damaged = set(), []
        names = (trial_id + _SUFFIX for trial_id in wanted & self.ids())
        for name, data in self.storage.read_many(names):
            try:
                found.add(self._opened(name.removesuffix(_SUFFIX), data).id)
            except LedgerError as error:
                damaged.append(f"{self.storage.quarantine(name)} ({error})")
        for trial_id in found & self._failed_ids():  # killed between the result and this
            self.storage.remove(trial_id + _FAILED)
        for name, data in self._failed(wanted - found):
            try:
                self._failure(name, data)
            except LedgerError as error:
                damaged.append(f"{self.storage.quarantine(name)} ({error})")
        return found, damaged

    def put_failure(self, failure: Failure) -> None:
        """Remember why a trial failed; a relaunch tries it again."""
        texts = asdict(failure)
        if not failure.traceback:
            del texts["traceback"]
        self.storage.write(failure.id + _FAILED, add_json_checksum(texts))
        _log.debug("failure of trial %s is kept", failure.id)

    def failures(self, trial_ids: Iterable[str]) -> list[Failure]:
        """Return the recorded failures among these trials.

        Raises
        ------
        LedgerError
            A record is damaged.
        """
        return [self._failure(name, data) for name, data in self._failed(trial_ids)]

    def _failed_ids(self) -> set[str]:
        return {name.removesuffix(_FAILED) for name in self.storage.names(_FAILED)}

    def _failed(self, trial_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        known = self._failed_ids()
        return self.storage.read_many(key + _FAILED for key in trial_ids if key in known)

    def _failure(self, name: str, data: bytes) -> Failure:
        place = self.storage.path(name)
        try:
            texts = verify_json_checksum(data, place, ("id", "trial", "cause"), ("traceback",))
            failure = Failure(**texts)
        except LedgerError as error:
            raise LedgerError(f"{error}; {_ANEW}") from error
        if not all(isinstance(text, str) for text in asdict(failure).values()):
            raise LedgerError(f"{place}: a failure is told in texts; {_ANEW}")
        if failure.id + _FAILED != name:
            raise LedgerError(f"{place} is of the trial {failure.id}; {_ANEW}")
        return failure
