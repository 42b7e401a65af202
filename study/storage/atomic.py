"""Create files atomically, remove leftovers of killed writers, and explain system errors."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modalities.store.files import list_temporary_files, sync_folder, write_temporary
from study.errors import StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a file system without free space."""
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}

LEFT_AFTER = 86400.0
"""Age in seconds at which a temporary file counts as a leftover: a write takes seconds."""

_ASSURANCE = ": nothing that was finished is lost"


def create_file(path: Path, data: bytes) -> bool:
    """Create a file if there is none; of several processes that try at once, one gets True.

    A hard link appears with its whole content, also on NFS. On file systems without hard links a
    reader may see an empty file for a moment.
    """
    with write_temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except OSError as error:
            # NFS may report an error although the link was made: the link count shows it.
            linked = temporary.stat().st_nlink == 2
            if not linked and isinstance(error, FileExistsError):
                return False
            if not linked and not _create_without_link(path, data):
                return False
    sync_folder(path.parent)
    return True


def _create_without_link(path: Path, data: bytes) -> bool:
    """Create a file on a file system without hard links; return whether there was none."""
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers from a folder; skip what cannot be removed."""
    limit = time.time() - LEFT_AFTER
    for temporary in list_temporary_files(folder):
        with suppress(OSError):
            if temporary.stat().st_mtime < limit:
                temporary.unlink()


@contextmanager
def name_error(path: str, verb: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the file, the cause and the remedy.

    Parameters
    ----------
    path : str
    verb : str
        The operation: ``written``, ``read``, ``renamed``, ``removed``.

    Raises
    ------
    StorageError
        In place of an OSError. A FileNotFoundError is passed on unless the file was written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and verb != "written":
            raise
        raise StorageError(
            f"{path} cannot be {verb} ({format_reason(error)}); "
            f"{_suggest_remedy(error)}{_ASSURANCE}"
        ) from error


def format_reason(error: OSError) -> str:
    """Return the system's message without the path."""
    return error.strerror or str(error)


def _suggest_remedy(error: OSError) -> str:
    if error.errno in FULL:
        return "free space there and run the same command again"
    if error.errno in _NOT_WRITABLE:
        return "make it writable, or give another folder, and run the same command again"
    return "check that disk or store and run the same command again"
