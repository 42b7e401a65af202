"""Atomic writing of files, and the feature files of a store."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, ModalityFeatures, Ragged
from modalities.store.arrays import CorruptFileError, map_file, pack_arrays, unpack_arrays

_SMILES = "smiles"
"""Name of the array with the SMILES, one per line."""
_WRITING = ".writing-"
"""Start of the name of a file that is being written."""


class StoreError(ModalityError):
    """Error for a file or folder of the store that cannot be used (full disk, permissions)."""


def sha256_of(source: Path | bytes | memoryview | str) -> str:
    """Return the sha256 in hex of a file (a Path), of bytes, or of a text in UTF-8."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(source.encode() if isinstance(source, str) else source).hexdigest()


@contextmanager
def write_temporary(path: Path, *parts: bytes | memoryview) -> Iterator[Path]:
    """Write a temporary file beside `path` and flush it to disk; remove it afterwards.

    Parameters
    ----------
    path : Path
        File that the temporary one will replace. Its folder is created if needed.
    *parts : bytes or memoryview
        Parts of the content, which are concatenated.

    Yields
    ------
    Path
        The temporary file, complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_WRITING}{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file atomically: `path` has either the new content or its old one.

    Raises
    ------
    OSError
        The file cannot be written (full disk, permissions); `path` is unchanged.
    """
    with write_temporary(path, *parts) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder, so that a rename survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_temporary_files(folder: Path, name: str = "") -> Iterator[Path]:
    """Yield the temporary files in a folder, those of running and of killed writers.

    Parameters
    ----------
    folder : Path
    name : str
        Yield only the temporary files of the file of this name; by default those of every file.
    """
    return folder.glob(f"{_WRITING}{glob.escape(name)}{'-' if name else ''}*")


def quarantine(path: Path) -> Path:
    """Rename a damaged file to ``*.corrupt``, which nothing reads, and return the new path."""
    unused = next(
        name for name in list_quarantine_names(path.name) if not path.with_name(name).exists()
    )
    return path.replace(path.with_name(unused))


def list_quarantine_names(name: str) -> Iterator[str]:
    """Yield the names that a damaged file may get, in order, so that earlier ones are kept."""
    return (f"{name}{'' if i == 1 else f'.{i}'}.corrupt" for i in count(1))


def build_store_error(path: Path, error: OSError) -> StoreError:
    """Build the error for a file or folder of the store that cannot be used."""
    return StoreError(
        f"feature store: {path} cannot be used ({error.strerror}); free disk space, correct the "
        "permissions or choose another folder for the store: nothing that was finished is lost"
    )


def write_features(path: Path, features: ModalityFeatures) -> None:
    """Write features atomically, as a safetensors file.

    Raises
    ------
    ModalityError
        A field holds neither numbers nor booleans.
    StoreError
        The file cannot be written (full disk, permissions); `path` is unchanged.
    """
    arrays: dict[str, NDArray[Any]] = {
        _SMILES: np.frombuffer("\n".join(features.smiles).encode(), np.uint8)
    }
    for name, field in features.fields.items():
        arrays[f"{name}/values"], arrays[f"{name}/offsets"] = field.values, field.offsets
    names = json.dumps([*features.fields])
    content = pack_arrays(arrays, {"version": features.version, "fields": names})
    try:
        replace_file(path, content)
    except OSError as error:
        raise build_store_error(path, error) from error


def read_features(path: Path) -> ModalityFeatures:
    """Read features as views of the memory-mapped file, after checking its sha256.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CorruptFileError
        The file is truncated, changed, or not a feature file.
    """
    arrays, metadata = unpack_arrays(map_file(path), str(path))
    try:
        smiles = arrays[_SMILES].tobytes().decode().split("\n")
        fields = {
            name: Ragged(arrays[f"{name}/values"], arrays[f"{name}/offsets"])
            for name in json.loads(metadata["fields"])
        }
        return ModalityFeatures(metadata["version"], tuple(smiles), fields)
    except (LookupError, TypeError, ValueError) as error:  # intact, but not a feature file
        raise CorruptFileError(f"{path} is not a feature file ({error})") from error
