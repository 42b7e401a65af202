"""Local files written whole or not at all, and what the system refuses said by name."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from study.errors import StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHUT = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}

_WRITING = ".writing-"
LEFT_AFTER = 86400.0
"""Seconds after which a temporary file is one that a killed writer left: a write takes seconds."""

_KEPT = ": nothing that was finished is lost"


def replace(path: Path, data: bytes) -> None:
    """Put a file in the place of another: temporary name, flush, rename, flush the folder."""
    with _beside(path, data) as temporary:
        temporary.replace(path)
    _flush(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Put a file where there is none; of several who try at once, one is told True.

    A hard link is whole when it appears, also on NFS; without links an empty file may be seen.
    """
    with _beside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except OSError as error:
            # NFS may lose the answer of a link that was made: the count of links tells.
            made = temporary.stat().st_nlink == 2
            if not made and isinstance(error, FileExistsError):
                return False
            if not made and not _create_in_place(path, data):
                return False
    _flush(path.parent)
    return True


def _create_in_place(path: Path, data: bytes) -> bool:
    """Do as `create` on a file system without hard links."""
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


@contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """Write a temporary file beside a path and flush it; gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_WRITING, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder; what cannot be removed stays."""
    before = time.time() - LEFT_AFTER
    for left in folder.glob(f"{_WRITING}*"):
        with suppress(OSError):
            if left.stat().st_mtime < before:
                left.unlink()


def _flush(folder: Path) -> None:
    """Make a new name itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: str, verb: str) -> Iterator[None]:
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
            f"{path} cannot be {verb} ({reason(error)}); {_remedy(error)}{_KEPT}"
        ) from error


def reason(error: OSError) -> str:
    """Return the system's words without the path."""
    return error.strerror or str(error)


def _remedy(error: OSError) -> str:
    if error.errno in FULL:
        return "free space there and give the same command again"
    if error.errno in _SHUT:
        return "make it writable, or give another folder, and launch again"
    return "see to that disk or store and give the same command again"
