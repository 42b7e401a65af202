"""Files that many processes share: one writer at a time, damage set aside and said."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from modalities._arrays import CorruptFileError
from modalities._base import ModalityFeatures
from modalities._storage import (
    quarantine,
    read_features,
    temporaries,
    unusable,
)


class FeatureStoreWarning(UserWarning):
    """A file of the store was damaged; it was set aside and its features are made again."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only writer of `path`, and clear away what killed writers left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        lock.acquire()
        for left in temporaries(path.parent, path.name):
            left.unlink()
    except OSError as error:
        raise unusable(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def read_shared(path: Path, version: str) -> ModalityFeatures | None:
    """Read a file of the store; None when it is absent or was damaged and set aside."""
    try:
        return _checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        with locked(path):  # a writer may just have put a sound file in its place: look again
            return read_locked(path, version)


def read_locked(path: Path, version: str) -> ModalityFeatures | None:
    """Like `read_shared`; the caller holds the lock of `path`."""
    try:
        return _checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        aside = quarantine(path)
        warnings.warn(
            f"{error}; it was set aside as {aside.name} and its features are made again",
            FeatureStoreWarning,
            stacklevel=4,
        )
        return None


def _checked(path: Path, version: str) -> ModalityFeatures:
    try:
        features = read_features(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unusable(path, error) from error
    if features.version != version:
        raise CorruptFileError(f"{path} holds features of '{features.version}', not '{version}'")
    return features
