"""Arrays in safetensors files, checked by a sha256 and read where they lie.

The safetensors library reads an array by copying it. Features and embeddings are memory-mapped
instead, so that the processes of a machine share them; the header of the format is short JSON.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from modalities._base import ModalityError

_SHA256 = "sha256"
_HEADER = 8
"""Bytes at the start of a file that hold the length of its header."""
_DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
"""Types of the format that NumPy has too, little-endian as in the file."""


class CorruptFileError(ValueError):
    """The bytes of a stored file are not the ones that were written."""


def pack_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Serialise arrays as safetensors; the metadata gets a ``sha256`` of everything.

    Raises
    ------
    ModalityError
        An array holds neither numbers nor booleans.
    """
    for name, array in arrays.items():
        if array.dtype.newbyteorder("<") not in _DTYPES.values():
            raise ModalityError(
                f"'{name}' has dtype {array.dtype}, which cannot be stored; "
                f"use one of {', '.join(dtype.name for dtype in _DTYPES.values())}"
            )
    stored = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        for name, array in arrays.items()
    }
    return save(stored, {**metadata, _SHA256: _checksum(stored, metadata)})


def unpack_arrays(
    content: memoryview, place: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of a file, as views of its content, and its metadata.

    Parameters
    ----------
    content : memoryview
    place : str
        Name of the file, for messages.

    Raises
    ------
    CorruptFileError
        A byte differs from what `pack_arrays` made.
    """
    try:
        arrays, metadata = _parse(content)
        stated = metadata.pop(_SHA256)
    # What else than the format a header may be: no JSON, or JSON of another structure.
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as e:
        raise CorruptFileError(f"{place} is not a file of this program, or damaged") from e
    whole = sum(array.nbytes for array in arrays.values()) == len(content) - _start(content)
    if not whole or _checksum(arrays, metadata) != stated:
        raise CorruptFileError(f"{place} does not have the sha256 it was written with")
    return arrays, metadata


def map_file(path: Path) -> memoryview:
    """Map a file into memory for reading; an empty one gives no bytes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _parse(content: memoryview) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    start = _start(content)
    header = json.loads(bytes(content[_HEADER:start]))
    metadata: dict[str, str] = header.pop("__metadata__")
    arrays = {name: _array(content, start, entry) for name, entry in header.items()}
    return arrays, metadata


def _array(content: memoryview, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that an entry of the header describes."""
    begin, end = entry["data_offsets"]
    array: NDArray[Any] = np.ndarray(
        tuple(entry["shape"]), _DTYPES[entry["dtype"]], buffer=content, offset=start + begin
    )
    if begin + array.nbytes != end:
        raise ValueError("the array does not end where the next one begins")
    return array


def _start(content: memoryview) -> int:
    """Return where the arrays begin."""
    return _HEADER + int.from_bytes(content[:_HEADER], "little")


def _checksum(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Return the sha256 of metadata and arrays: names, types, shapes and values."""
    state = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        state.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
