"""Checkpoints of a training run, from which a killed run resumes."""

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
    """Store of one training's latest state; loaded tensors are on the CPU."""

    def load(self) -> Mapping[str, Any] | None:
        """Return the state that was saved last, or None."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the stored state atomically."""

    def clear(self) -> None:
        """Delete the state, once the result of the training is written."""


class StoredCheckpoints:
    """One checkpoint file with a checksum, named by the identity of what is trained.

    The identity is also stored in the file, so no other training reads it.

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
        """Return the last state; a damaged file is quarantined and training starts over."""
        try:
            data = self.storage.read(self._name)
        except FileNotFoundError:
            return None
        try:
            return self._decode(data)
        except UNREADABLE as error:
            self._quarantine(error)
            return None

    def _decode(self, data: bytes) -> Mapping[str, Any]:
        path = self.storage.path(self._name)
        payload = verify_checksum(data, path)
        try:
            stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise LedgerError(f"{path}: contains more than tensors and plain values") from error
        if stored["identity"] != self.identity:
            raise LedgerError(f"{path}: it is the checkpoint of {stored['identity']}")
        state: Mapping[str, Any] = stored["state"]
        return state

    def _quarantine(self, error: Exception) -> None:
        path = self.storage.quarantine(self._name)
        logging.getLogger(__name__).warning(
            "damaged checkpoint set aside as %s; the training starts over (%s)", path, error
        )

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the stored state."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": dict(state)}, buffer)
        self.storage.write(self._name, add_checksum(buffer.getvalue()))

    def clear(self) -> None:
        """Delete the file, if it exists."""
        self.storage.remove(self._name)
