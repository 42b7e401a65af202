"""One file of features: written whole or not at all, checked by its sha256 when read.

Layout: magic, sha256 of everything after it, length of the header, header (JSON: version,
molecules, place of every array), arrays. Arrays start at multiples of 64 bytes, so that a file
can be memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, ModalityFeatures, Ragged

MAGIC = b"ODORFEA1"
_DIGEST_END = len(MAGIC) + 32
_HEADER_START = _DIGEST_END + 8
_ALIGN = 64


class CorruptFileError(ValueError):
    """The bytes of a features file are not the ones that were written."""


class StoreError(ModalityError):
    """A file or folder of the store that the system refuses (full disk, rights)."""


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that nobody else uses; see `temporaries`."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")


def temporaries(path: Path) -> Iterator[Path]:
    """Yield what writers of `path` that were killed have left behind."""
    return path.parent.glob(f"{path.name}.*.tmp")


def unusable(path: Path, error: OSError) -> StoreError:
    """Return the error for a file or folder of the store that the system refuses."""
    return StoreError(
        f"feature store: {path} cannot be used ({error.strerror}); "
        "free it or choose another folder for the store: nothing that was finished is lost"
    )


def write_features(path: Path, features: ModalityFeatures) -> None:
    """Write features so that `path` holds all of them, or what it held before.

    Raises
    ------
    StoreError
        The folder cannot be written (rights, full disk); `path` is as it was.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            for part in _parts(features):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
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


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
