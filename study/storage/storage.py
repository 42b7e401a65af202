"""A folder of results on a file system or in an object store."""

from __future__ import annotations

import glob
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from modalities.store.arrays import map_file
from modalities.store.files import list_quarantine_names, replace_file
from study.errors import InputError, StorageError
from study.storage.atomic import FULL, create_file, format_reason, name_error, remove_leftovers


def open_storage(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it."""
    parts = urlsplit(url)
    if parts.scheme and parts.password is not None:
        raise InputError(
            f"storage '{parts.scheme}://...@{parts.hostname}{parts.path}' holds a password, which "
            "would be written into every study file: leave it out, and give it to the store's own "
            "settings (for s3:// the environment or ~/.aws/credentials)"
        )
    try:
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"storage '{url}' cannot be used here ({error}); install the driver for it (for s3:// "
            "pip install 'olfaction-study[s3]'), or give a path"
        ) from error
    return fs, str(root).rstrip("/") or "/"


def _bytes_or_raise(answer: object) -> bytes:
    """Return the bytes that fsspec read for one key, or raise the error that it returned."""
    if isinstance(answer, Exception):
        raise answer
    return bytes(answer)  # type: ignore[call-overload, no-any-return]  # bytes, says fsspec


@contextmanager
def _raise_os_errors(*, local: bool) -> Iterator[None]:
    """Turn the errors of an object store's driver into OSError, as a disk raises them."""
    try:
        yield
    except (OSError, StorageError, GeneratorExit):
        raise
    except Exception as error:  # the drivers of fsspec share no base class of their errors
        if local:
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


_log = logging.getLogger(__name__)
_BATCH_SIZE = 32
"""Number of records that are fetched from an object store at the same time."""


class Storage:
    """A folder of records, on a file system or in an object store.

    A record is a file that is written whole or not at all.

    Parameters
    ----------
    url : str
        A local path, or an fsspec URL of an object store (``s3://bucket/folder``).

    Raises
    ------
    InputError
        The URL cannot be used on this machine, or holds a password.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = open_storage(url)

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a mounted file system."""
        return "file" in (self._fs.protocol, *self._fs.protocol)

    @property
    def address(self) -> str:
        """Absolute path or URL of the folder, valid in every process of this machine."""
        return str(Path(self._root).resolve()) if self.is_local else self.url.rstrip("/")

    def subfolder(self, *names: str) -> Storage:
        """Return a subfolder."""
        return Storage("/".join([self.address, *names]))

    @property
    def parent_folder(self) -> Storage:
        """The parent folder."""
        return Storage(self.address.rpartition("/")[0] or "/")

    def path(self, name: str) -> str:
        """Return the full path of a record, for messages."""
        return f"{self._root}/{name}" if self.is_local else f"{self.url.rstrip('/')}/{name}"

    def prepare(self) -> None:
        """Create the folder, check that it is writable, and remove old leftovers of writers.

        Raises
        ------
        InputError
            The folder cannot be created or written; the message has the system's reason.
        StorageError
            There is no free space.
        """
        probe = f".probe-{uuid.uuid4().hex}"  # not the process number, which containers share
        try:
            with _raise_os_errors(local=self.is_local):
                if self.is_local:
                    Path(self._root).mkdir(parents=True, exist_ok=True)
                self._put(probe, b"")
                self._fs.rm_file(self._key(probe))
                if self.is_local:
                    remove_leftovers(Path(self._root))
        except OSError as error:
            if error.errno in FULL:
                with name_error(self._root, "written"):
                    raise
            raise InputError(
                f"storage '{self.url}' cannot be written ({format_reason(error)}); "
                "give another folder with 'run.storage' or --storage"
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a record durably; if this fails, the record is as it was.

        Raises
        ------
        StorageError
            The system cannot write (full disk, permissions, connection).
        """
        with self._naming(name, "written"):
            self._put(name, data)
        _log.debug("written: %s, %d bytes", self.path(name), len(data))

    def create(self, name: str, data: bytes) -> bool:
        """Write a record unless it exists; of several processes that try at once, one gets True."""
        with self._naming(name, "written"):
            if self.is_local:
                return create_file(Path(self._key(name)), data)
            try:
                self._fs.pipe_file(self._key(name), data, mode="create")
            except FileExistsError:
                return False
            return True

    def read(self, name: str) -> bytes:
        """Read a record; raise FileNotFoundError if it is missing, StorageError if unreadable."""
        with self._naming(name, "read"):
            return bytes(self._fs.cat_file(self._key(name)))

    def view(self, name: str) -> memoryview:
        """Read a record like `read`, but memory-mapped where the file system is mounted.

        Processes of one machine share the memory. Records are replaced by renaming and never
        truncated, so a mapping keeps its content.
        """
        if not self.is_local:
            return memoryview(self.read(name))
        with self._naming(name, "read"):
            return map_file(Path(self._key(name)))

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the name and content of records, in any order; skip missing ones.

        From an object store several are fetched at a time.
        """
        all_names, step = list(names), 1 if self.is_local else _BATCH_SIZE
        for start in range(0, len(all_names), step):
            batch = all_names[start : start + step]
            keys = [self._key(name) for name in batch]
            for name, answer in zip(batch, self._fs.cat_ranges(keys, None, None), strict=True):
                if isinstance(answer, FileNotFoundError):
                    continue
                with self._naming(name, "read"):
                    yield name, _bytes_or_raise(answer)

    def exists(self, name: str) -> bool:
        """Return whether there is a record of this name."""
        with self._naming(name, "read"):
            return bool(self._fs.exists(self._key(name)))

    def names(self, suffix: str) -> list[str]:
        """Return the names of all records that end in `suffix`, sorted."""
        with self._naming("", "read"), suppress(FileNotFoundError, NotADirectoryError):
            paths = self._fs.ls(self._root, detail=False)
            names = (str(path).rsplit("/", 1)[-1] for path in paths)
            return sorted(name for name in names if name.endswith(suffix) and name[:1] not in ".")
        return []

    def find_folders_with(self, name: str) -> list[str]:
        """Return the names of the subfolders with a record of this name, sorted.

        The name may be a pattern, as ``launch-*.lock``.
        """
        with self._naming("", "read"), suppress(FileNotFoundError):
            paths = self._fs.glob(f"{glob.escape(self._root)}/*/{name}")
            return sorted({str(path).rsplit("/", 2)[-2] for path in paths})
        return []

    def clear(self) -> None:
        """Remove the folder with everything in it."""
        with self._naming("", "removed"), suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)

    def sizes(self, name: str) -> dict[str, int]:
        """Return the size in bytes of a record, or of every record below a folder, by name."""
        infos: dict[str, Any] = {}
        with self._naming(name, "read"), suppress(FileNotFoundError):
            infos = self._fs.find(self._key(name), detail=True)
        start = len(self._root) + 1
        sizes = {str(path)[start:]: int(info["size"]) for path, info in infos.items()}
        # Some programs represent a folder of an object store by an empty object: not a record.
        return {name: size for name, size in sizes.items() if name[-1:] not in "/"}

    def modified(self, name: str) -> datetime | None:
        """Return when a record was last written, in UTC; None if it does not exist."""
        with self._naming(name, "read"), suppress(FileNotFoundError):
            modified: datetime = self._fs.modified(self._key(name))
            return modified.astimezone(UTC)
        return None

    def remove_empty_folders(self) -> None:
        """Remove the folder and its subfolders if they are empty; an object store has none."""
        if not self.is_local:
            return
        for folder, _, _ in os.walk(self._root, topdown=False):
            with suppress(OSError):  # it holds a file
                Path(folder).rmdir()

    def rename(self, name: str, to: str) -> None:
        """Rename a record."""
        with self._naming(name, "renamed"):
            if self.is_local:  # fsspec would copy where it cannot rename
                Path(self._key(name)).replace(self._key(to))
            else:
                self._fs.mv(self._key(name), self._key(to))

    def quarantine(self, name: str) -> str:
        """Rename a damaged record to ``*.corrupt``, which nothing reads; return its new path."""
        taken = set(self.names(".corrupt"))
        free = next(other for other in list_quarantine_names(name) if other not in taken)
        self.rename(name, free)
        _log.info("set aside: %s", self.path(free))
        return self.path(free)

    def remove(self, name: str) -> None:
        """Remove a record if it exists."""
        with self._naming(name, "removed"), suppress(FileNotFoundError):
            self._fs.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, name: str, data: bytes) -> None:
        if self.is_local:
            replace_file(Path(self._key(name)), data)
        else:  # a single put, which an object store does whole or not at all
            self._fs.pipe_file(self._key(name), data)

    @contextmanager
    def _naming(self, name: str, verb: str) -> Iterator[None]:
        with name_error(self.path(name), verb), _raise_os_errors(local=self.is_local):
            yield


def write_atomic(path: Path, data: bytes) -> None:
    """Write a local file atomically: temporary name, flush to disk, rename, flush the folder.

    Raises
    ------
    StorageError
        The system cannot write; the file is as it was.
    """
    with name_error(str(path), "written"):
        replace_file(path, data)
