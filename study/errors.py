"""Errors with messages for users, which say what to do."""

from __future__ import annotations


class StudyError(Exception):
    """Base of every named error of the study package."""


class InputError(StudyError, ValueError):
    """An input of the user (file, table, option, path) breaks a stated rule.

    The message names the rule, the value and the place. Nothing was written.
    """


class PluginError(StudyError):
    """A stored study needs a plug-in that is not here; the message says how to provide it."""


class TrialError(StudyError, RuntimeError):
    """One trial failed; the other trials continue."""


class ClusterError(StudyError, RuntimeError):
    """The cluster failed during a launch; finished results are in the ledger."""


class StorageError(StudyError, RuntimeError):
    """A file of the storage could not be written or read; the message names it and the remedy."""


class TrackingError(StudyError, RuntimeError):
    """The tracking pages could not be written; all results are in the ledger."""


class PeerLostError(StudyError, RuntimeError):
    """Another process of the same training died."""


class OutOfMemoryError(StudyError, MemoryError):
    """A training ran out of GPU memory."""
