"""Local copies of files in an object store, for libraries that need real files.

A mounted storage is used in place. For an object store each machine keeps copies in a local
folder. Copied files are content-addressed or verified when read, so a missing or outdated copy
costs time and never changes a result.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from modalities import FeatureStore
from study.errors import InputError
from study.storage.storage import Storage, write_atomic

VARIABLE = "OLFACTION_CACHE"
"""Environment variable with the folder for copies of object stores."""


def local_folder(storage: Storage) -> Path:
    """Return the folder of a mounted storage, else this machine's folder for copies of it.

    Raises
    ------
    InputError
        The URL has ``.`` or ``..`` in its path and could leave its bucket.
    """
    if storage.is_local:
        return Path(storage.address)
    url = urlsplit(storage.address)
    parts = [part for part in (url.netloc, *url.path.split("/")) if part]
    if {".", ".."} & set(parts):
        raise InputError(f"storage '{storage.url}' has '.' or '..' in its path: write it in full")
    return _find_cache_folder() / url.scheme / Path(*parts)


def _find_cache_folder() -> Path:
    folder = os.environ.get(VARIABLE)
    if folder:
        return Path(folder).resolve()
    from platformdirs import user_cache_path

    return user_cache_path("olfaction-study")


class LocalMirror:
    """A local copy of a folder in an object store, synchronized file by file."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.root = storage, local_folder(storage)

    def pull(self, path: Path) -> None:
        """Download a file, or the files of a folder, that are missing here or differ in size."""
        remote_sizes = self.storage.sizes(self._to_name(path)).items()
        # Keys of an object store may be any text: ".." would lead out of the folder.
        outdated = [
            name
            for name, size in remote_sizes
            if ".." not in Path(name).parts and size != _read_size(self.root / name)
        ]
        for name, data in self.storage.read_many(outdated):
            write_atomic(self.root / name, data)

    def push(self, path: Path) -> None:
        """Upload a file, or every file of a folder; do nothing if the storage is mounted."""
        if self.storage.is_local:
            return
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            self.storage.write(self._to_name(file), file.read_bytes())

    def _to_name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _read_size(path: Path) -> int:
    """Return the bytes of a file; -1 if it does not exist."""
    return path.stat().st_size if path.is_file() else -1


def feature_store(storage: Storage) -> FeatureStore:
    """Return the feature store in a folder of a storage."""
    if storage.is_local:
        return FeatureStore(Path(storage.address))
    mirror = LocalMirror(storage)
    return FeatureStore(mirror.root, mirror)
