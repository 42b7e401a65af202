"""A split as a JSON file: written whole or not at all, and checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.errors import InputError, StorageError
from study.seals import json_digest

_FORMAT = "olfaction-study split 1"


def pack(state: Mapping[str, Any]) -> bytes:
    """Serialise a state that holds its digest."""
    return json.dumps({"format": _FORMAT, **state}, separators=(",", ":")).encode()


def unpack(data: bytes, place: str) -> dict[str, Any]:
    """Return a state, after comparing it with the digest it was written with."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not a readable split: {error}") from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise InputError(f"{place}: not a split file of the format '{_FORMAT}'")
    stated = content.pop("digest", None)
    if json_digest(content) != stated:
        raise InputError(
            f"{place}: the content does not match its digest {str(stated)[:12]}: the file was "
            "changed or cut; make the split again from its seed"
        )
    return content


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state with its digest, whole or not at all."""
    from study.storage import write_atomic  # fsspec is slow to import and only needed here

    try:
        write_atomic(path, pack(state))
    except StorageError as error:
        raise InputError(f"{path}: the split cannot be written: {error}") from error


def read(path: Path) -> dict[str, Any]:
    """Read a state and compare it with the digest it was written with."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: not a readable split: {error}") from error
    return unpack(data, str(path))
