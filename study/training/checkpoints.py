"""Checkpoints of a training: what a run that was killed goes on from."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from study.storage.checksums import UNREADABLE, LedgerError, add_checksum, verify_checksum
from study.storage.storage import Storage

_SUFFIX = ".checkpoint"


class CheckpointStore(Protocol):
    """One training's last state; tensors are on the CPU when it is read."""

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state that was saved; None if there is none."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state instead of the last one, whole or not at all."""

    def clear(self) -> None:
        """Forget it: the result of the training is written."""


class StoredCheckpoints:
    """A sealed file under the identity of what is trained: another training never reads it.

    Parameters
    ----------
    storage : Storage
        Folder that every machine of the study sees.
    identity : str
        Digest of everything the training depends on (a job's or a trial's id).
    """

    def __init__(self, storage: Storage, identity: str) -> None:
        self.storage = storage
        self.identity = identity

    @property
    def _name(self) -> str:
        return self.identity + _SUFFIX

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state; a damaged file is set aside and the training begins anew."""
        try:
            data = self.storage.read(self._name)
        except FileNotFoundError:
            return None
        try:
            return self._opened(data)
        except UNREADABLE as error:
            self._quarantine(error)
            return None

    def _opened(self, data: bytes) -> Mapping[str, Any]:
        place = self.storage.path(self._name)
        payload = verify_checksum(data, place)
        try:
            stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise LedgerError(f"{place}: more than tensors and plain values") from error
        if stored["identity"] != self.identity:
            raise LedgerError(f"{place}: it is the checkpoint of {stored['identity']}")
        state: Mapping[str, Any] = stored["state"]
        return state

    def _quarantine(self, error: Exception) -> None:
        aside = self.storage.quarantine(self._name)
        logging.getLogger(__name__).warning(
            "checkpoint set aside as %s, the training begins anew (%s)", aside, error
        )

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state in place of the last one."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": dict(state)}, buffer)
        self.storage.write(self._name, add_checksum(buffer.getvalue()))

    def clear(self) -> None:
        """Remove the file, if there is one."""
        self.storage.remove(self._name)
