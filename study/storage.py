"""Durable bytes under a name, on any file system fsspec knows; every write is atomic."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import fsspec

from study.errors import InputError


class Storage:
    """A folder for records: whole files, written at once or not at all.

    Parameters
    ----------
    url : str
        A local path or an fsspec URL (``s3://bucket/folder``).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)

    @property
    def is_local(self) -> bool:
        """Whether the records lie on a mounted file system."""
        return "file" in (self._fs.protocol, *self._fs.protocol)

    def path(self, name: str) -> str:
        """Full path of a record, for messages."""
        return f"{self._root}/{name}"

    def prepare(self) -> None:
        """Make the folder and prove that it can be written; leave no trace of the proof.

        Raises
        ------
        InputError
            The folder cannot be made or written, with the reason of the system.
        """
        probe = f".probe-{os.getpid()}"
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            self.write(probe, b"")
            self._fs.rm_file(self.path(probe))
        except OSError as error:
            raise InputError(
                f"storage '{self.url}' cannot be written ({error}); "
                "give another folder with 'run.storage' or --storage"
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a record: durable and whole when this returns, absent or whole if it does not."""
        path = self.path(name)
        if not self.is_local:
            self._fs.pipe_file(path, data)
            return
        write_atomic(Path(path), data)

    def read(self, name: str) -> bytes:
        """Return a record; FileNotFoundError if there is none."""
        return bytes(self._fs.cat_file(self.path(name)))

    def exists(self, name: str) -> bool:
        """Whether there is a record of this name."""
        return bool(self._fs.exists(self.path(name)))

    def names(self, suffix: str) -> list[str]:
        """Return the names of all records that end in `suffix`, sorted."""
        if not self._fs.isdir(self._root):
            return []
        paths = self._fs.ls(self._root, detail=False)
        names = (str(path).rsplit("/", 1)[-1] for path in paths)
        return sorted(name for name in names if name.endswith(suffix) and name[0] != ".")

    def rename(self, name: str, to: str) -> None:
        """Give a record another name."""
        self._fs.mv(self.path(name), self.path(to))

    def remove(self, name: str) -> None:
        """Remove a record."""
        self._fs.rm_file(self.path(name))


def write_atomic(path: Path, data: bytes) -> None:
    """Write a local file whole: temporary name, flush to disk, rename, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
