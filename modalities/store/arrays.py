"""Arrays in safetensors files, checked by a sha256 and memory-mapped.

The safetensors library copies an array when it reads it. Features and embeddings are
memory-mapped instead, so that the processes of a machine share them. Reading the format takes
little code, because its header is JSON.
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
"""Number of bytes at the start of a file that state the length of its header."""
_DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
"""Data types of the format that NumPy has too, little-endian as in the file."""


class CorruptFileError(ValueError):
    """Error for a stored file whose bytes are not those that were written."""


def pack_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Serialize arrays as safetensors; a ``sha256`` of everything is added to the metadata.

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
    return save(stored, {**metadata, _SHA256: _compute_checksum(stored, metadata)})


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
        A byte differs from the output of `pack_arrays`.
    """
    try:
        arrays, metadata = _parse(content)
        expected = metadata.pop(_SHA256)
    # All errors that a header can cause which is not JSON, or JSON of another structure.
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as e:
        raise CorruptFileError(f"{place} is not a file of this program, or damaged") from e
    size = sum(array.nbytes for array in arrays.values())
    if (
        size != len(content) - _find_start(content)
        or _compute_checksum(arrays, metadata) != expected
    ):
        raise CorruptFileError(f"{place} does not have the sha256 it was written with")
    return arrays, metadata


def map_file(path: Path) -> memoryview:
    """Map a file into memory for reading."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _parse(content: memoryview) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    start = _find_start(content)
    header = json.loads(bytes(content[_HEADER:start]))
    metadata: dict[str, str] = header.pop("__metadata__")
    arrays = {name: _view_array(content, start, entry) for name, entry in header.items()}
    return arrays, metadata


def _view_array(content: memoryview, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that an entry of the header describes."""
    begin, end = entry["data_offsets"]
    array: NDArray[Any] = np.ndarray(
        tuple(entry["shape"]), _DTYPES[entry["dtype"]], buffer=content, offset=start + begin
    )
    if begin + array.nbytes != end:
        raise ValueError("the array does not end where the next one begins")
    return array


def _find_start(content: memoryview) -> int:
    """Return the offset of the first array."""
    return _HEADER + int.from_bytes(content[:_HEADER], "little")


def _compute_checksum(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Compute the sha256 of metadata and arrays: names, types, shapes and values."""
    state = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        state.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
