"""The errors a user can meet, each with a message that says what to do."""

from __future__ import annotations


class StudyError(Exception):
    """Base of every named error of the study package."""


class InputError(StudyError, ValueError):
    """Something the user gave (file, table, option, path) breaks a stated rule.

    The message carries the rule, the value and the place. Nothing was written.
    """


class TrialError(StudyError, RuntimeError):
    """One trial could not be finished; the other trials go on."""


class ClusterError(StudyError, RuntimeError):
    """The cluster broke down under a launch; what had finished is kept."""


class StorageError(StudyError, RuntimeError):
    """A file of the storage could not be written or read; the message names it and the remedy."""


class TrackingError(StudyError, RuntimeError):
    """The tracking pages could not be written; the ledger has every result all the same."""


class PeerLostError(StudyError, RuntimeError):
    """The exchange with another process of a training broke off: that process has died."""


class OutOfMemoryError(StudyError, MemoryError):
    """A GPU has no memory left for a training."""
