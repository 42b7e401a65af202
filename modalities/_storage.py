"""One file of features: written whole or not at all, checked by its sha256 when read.

Layout: magic, sha256 of everything after it, length of the header, header (JSON: version,
molecules, place of every array), arrays. Arrays start at multiples of 64 bytes, so that a file
can be memory-mapped.
"""

from __future__ import annotations

import glob
import hashlib
import json
import mmap
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

MAGIC = b"ODORFEA1"
_DIGEST_END = len(MAGIC) + 32
_HEADER_START = _DIGEST_END + 8
_ALIGN = 64

_WRITING = ".writing-"
"""Start of the name of a file that is being written."""


class CorruptFileError(ValueError):
    """The bytes of a features file are not the ones that were written."""


class StoreError(ModalityError):
    """A file or folder of the store that the system refuses (full disk, rights)."""


def sha256_of(source: Path | bytes | memoryview | str) -> str:
    """Return the sha256 of a file (a Path), of bytes or of a text in UTF-8, in hex."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(source.encode() if isinstance(source, str) else source).hexdigest()


@contextmanager
def written_beside(path: Path, *parts: bytes | memoryview) -> Iterator[Path]:
    """Write a temporary file beside `path` and flush it to disk; remove it afterwards.

    Parameters
    ----------
    path : Path
        The file that the temporary one is to become. Its folder is made if needed.
    *parts : bytes or memoryview
        The content is their concatenation.

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
    """Write a file atomically: `path` has the new content, or what it had before.

    Raises
    ------
    OSError
        The system refuses (full disk, rights); `path` is as it was.
    """
    with written_beside(path, *parts) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporaries(folder: Path, name: str = "") -> Iterator[Path]:
    """Yield the temporary files in a folder, of writers at work and of killed ones.

    Parameters
    ----------
    folder : Path
    name : str
        Only those of the file of this name; by default those of every file.
    """
    return folder.glob(f"{_WRITING}{glob.escape(name)}{'-' if name else ''}*")


def quarantine(path: Path) -> Path:
    """Rename a damaged file to ``*.corrupt``, which nothing reads, and return the new path."""
    free = next(name for name in quarantine_names(path.name) if not path.with_name(name).exists())
    return path.replace(path.with_name(free))


def quarantine_names(name: str) -> Iterator[str]:
    """Yield the names a damaged file may get, in order: earlier damaged files are kept."""
    return (f"{name}{'' if i == 1 else f'.{i}'}.corrupt" for i in count(1))


def unusable(path: Path, error: OSError) -> StoreError:
    """Return the error for a file or folder of the store that the system refuses."""
    return StoreError(
        f"feature store: {path} cannot be used ({error.strerror}); "
        "free it or choose another folder for the store: nothing that was finished is lost"
    )


def write_features(path: Path, features: ModalityFeatures) -> None:
    """Write features atomically.

    Raises
    ------
    StoreError
        The folder cannot be written (rights, full disk); `path` is as it was.
    """
    try:
        replace_file(path, *_parts(features))
    except OSError as error:
        raise unusable(path, error) from error


def read_features(path: Path) -> ModalityFeatures:
    """Read features as views of the memory-mapped file, after checking its sha256.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CorruptFileError
        The file is cut short, changed, or something else.
    """
    with path.open("rb") as file:
        try:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:  # mmap's answer to an empty file
            raise CorruptFileError(f"{path} is empty") from error
    if content[: len(MAGIC)] != MAGIC:
        raise CorruptFileError(f"{path} is not a features file")
    if hashlib.sha256(content[_DIGEST_END:]).digest() != content[len(MAGIC) : _DIGEST_END]:
        raise CorruptFileError(f"{path} does not have the sha256 it was written with")
    return _parse(content)


def _arrays(features: ModalityFeatures) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, field in features.fields.items():
        arrays[f"{name}/values"] = np.ascontiguousarray(field.values)
        arrays[f"{name}/offsets"] = np.ascontiguousarray(field.offsets)
    return arrays


def _parts(features: ModalityFeatures) -> list[bytes | memoryview]:
    """Return the parts of a file, in order; their concatenation is its content."""
    body: list[bytes | memoryview] = []
    places, position = {}, 0
    for name, array in _arrays(features).items():
        places[name] = (array.dtype.str, array.shape, position)
        padding = -array.nbytes % _ALIGN
        body += [array.reshape(-1).view(np.uint8).data, bytes(padding)]
        position += array.nbytes + padding
    header = json.dumps(
        {"version": features.version, "smiles": features.smiles, "arrays": places}
    ).encode()
    header += b" " * (-(_HEADER_START + len(header)) % _ALIGN)
    checked = [len(header).to_bytes(8, "little"), header, *body]
    state = hashlib.sha256()
    for part in checked:
        state.update(part)
    return [MAGIC, state.digest(), *checked]


def _parse(content: memoryview) -> ModalityFeatures:
    start = _HEADER_START + int.from_bytes(content[_DIGEST_END:_HEADER_START], "little")
    header = json.loads(bytes(content[_HEADER_START:start]))
    arrays = {
        name: np.frombuffer(
            content, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=start + position
        ).reshape(shape)
        for name, (dtype, shape, position) in header["arrays"].items()
    }
    names = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
    fields = {name: Ragged(arrays[f"{name}/values"], arrays[f"{name}/offsets"]) for name in names}
    return ModalityFeatures(header["version"], tuple(header["smiles"]), fields)
