"""Files that must be real files on every machine, where the storage is an object store.

A mounted storage is used in place. Of an object store each machine keeps copies in a folder of
its own. All that is copied is either found by its content or checked when read, so a copy that
is missing or old costs time and never changes a result.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from modalities import FeatureStore
from study.errors import InputError
from study.storage.storage import Storage, write_atomic

VARIABLE = "OLFACTION_CACHE"
"""Environment variable: folder for copies of object stores."""


def local_folder(storage: Storage) -> Path:
    """Return the folder itself if it is mounted, else this machine's folder of copies of it.

    Raises
    ------
    InputError
        The URL climbs out of its bucket.
    """
    if storage.is_local:
        return Path(storage.address)
    url = urlsplit(storage.address)
    parts = [part for part in (url.netloc, *url.path.split("/")) if part]
    if {".", ".."} & set(parts):
        raise InputError(f"storage '{storage.url}' has '.' or '..' in its path: write it in full")
    return _cache() / url.scheme / Path(*parts)


def _cache() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).resolve()
    from platformdirs import user_cache_path

    return user_cache_path("olfaction-study")


class LocalMirror:
    """Keeps a local folder equal to a folder of an object store, file by file."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.root = storage, local_folder(storage)

    def pull(self, path: Path) -> None:
        """Fetch a file, or the files of a folder, that are absent here or of another size."""
        remote = self.storage.sizes(self._name(path)).items()
        wanted = [
            name
            for name, size in remote
            if ".." not in Path(name).parts and size != _size(self.root / name)
        ]  # keys of an object store may be any text: none leads out of the folder
        for name, data in self.storage.read_many(wanted):
            write_atomic(self.root / name, data)

    def push(self, path: Path) -> None:
        """Send a file, or every file of a folder; of a mounted folder there is nothing to send."""
        if self.storage.is_local:
            return
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            self.storage.write(self._name(file), file.read_bytes())

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _size(path: Path) -> int:
    """Bytes of a file; -1 if it is not there."""
    return path.stat().st_size if path.is_file() else -1


def feature_store(storage: Storage) -> FeatureStore:
    """Return the features kept in a folder of a storage."""
    if storage.is_local:
        return FeatureStore(Path(storage.address))
    mirror = LocalMirror(storage)
    return FeatureStore(mirror.root, mirror)
