"""Create a file once, sweep up after killed writers, and name files the system refuses."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modalities.store.files import sync_folder, temporaries, written_beside
from study.errors import StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHUT = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}

LEFT_AFTER = 86400.0
"""Seconds after which a temporary file is one that a killed writer left: a write takes seconds."""

_KEPT = ": nothing that was finished is lost"


def create_file(path: Path, data: bytes) -> bool:
    """Put a file where there is none; of several who try at once, one is told True.

    A hard link is whole when it appears, also on NFS; without links an empty file may be seen.
    """
    with written_beside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except OSError as error:
            # NFS may lose the answer of a link that was made: the count of links tells.
            made = temporary.stat().st_nlink == 2
            if not made and isinstance(error, FileExistsError):
                return False
            if not made and not _create_in_place(path, data):
                return False
    sync_folder(path.parent)
    return True


def _create_in_place(path: Path, data: bytes) -> bool:
    """Do as `create_file` on a file system without hard links."""
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder; what cannot be removed stays."""
    before = time.time() - LEFT_AFTER
    for left in temporaries(folder):
        with suppress(OSError):
            if left.stat().st_mtime < before:
                left.unlink()


@contextmanager
def name_error(path: str, verb: str) -> Iterator[None]:
    """Say which file the system refused, why, and what to do.

    Parameters
    ----------
    path : str
    verb : str
        What was done: ``written``, ``read``, ``renamed``, ``removed``.

    Raises
    ------
    StorageError
        In place of an OSError; a file that is not there stays a FileNotFoundError when it is read.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and verb != "written":
            raise
        raise StorageError(
            f"{path} cannot be {verb} ({error_reason(error)}); {_remedy(error)}{_KEPT}"
        ) from error


def error_reason(error: OSError) -> str:
    """Return the system's words without the path."""
    return error.strerror or str(error)


def _remedy(error: OSError) -> str:
    if error.errno in FULL:
        return "free space there and give the same command again"
    if error.errno in _SHUT:
        return "make it writable, or give another folder, and launch again"
    return "see to that disk or store and give the same command again"
