"""Checksums of stored files: added when a file is written, verified when it is read."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from lzma import LZMAError
from tokenize import TokenError
from typing import Any, TypeVar
from zipfile import BadZipFile

from modalities import sha256_of
from study.errors import InputError, StudyError
from study.storage.storage import Storage

_MAGIC = b"olfaction-study trial 1 "
_CHECKSUM_KEY = "sha256"
_LINE_LENGTH = len(_MAGIC) + 64
"""Length of the checksum line: the magic bytes and the hex digits of a sha256."""


class LedgerError(StudyError):
    """A stored file is damaged: it differs from what was written. The message names it."""


UNREADABLE = (
    *(LedgerError, ArithmeticError, AttributeError, EOFError, LookupError, OSError, TypeError),
    *(ValueError, BadZipFile, LZMAError, struct.error, zlib.error),
    MemoryError,  # the header of an array may ask for any size
    RuntimeError,  # JSON nested too deeply, an archive of an unknown form
    *(SyntaxError, TokenError),  # the header of an array
)
"""Exceptions that reading damaged bytes can raise, from archives, arrays and JSON."""


def add_checksum(payload: bytes) -> bytes:
    """Put a checksum line before a payload."""
    return _MAGIC + sha256_of(payload).encode() + b"\n" + payload


def verify_checksum(data: bytes, place: str) -> bytes:
    """Return the payload of `add_checksum`; raise LedgerError naming `place` if a byte differs."""
    line, payload = data[:_LINE_LENGTH], data[_LINE_LENGTH + 1 :]
    line_end = data[_LINE_LENGTH : _LINE_LENGTH + 1]
    if not line.startswith(_MAGIC) or line_end != b"\n":
        raise LedgerError(f"{place}: not a record of this program, or damaged")
    if sha256_of(payload).encode() != line.removeprefix(_MAGIC):
        raise LedgerError(f"{place}: the checksum does not match; the record is damaged")
    return payload


def add_json_checksum(value: Mapping[str, Any]) -> bytes:
    """Serialise a mapping as readable JSON with a checksum of its values."""
    return json.dumps({_CHECKSUM_KEY: json_digest(value), **value}, indent=2).encode()


def verify_json_checksum(
    data: bytes, place: str, keys: Collection[str] | None = None, optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return the mapping of `add_json_checksum`, or of a version that wrote no checksum.

    Parameters
    ----------
    keys : collection of str, optional
        Keys that the mapping must have, and no others.
    optional : collection of str
        Keys that it may have in addition.

    Raises
    ------
    LedgerError
        The data are not a JSON mapping, or a value differs from what was written.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{place}: not JSON; the record is damaged") from error
    if not isinstance(value, dict):
        raise LedgerError(f"{place}: not a record of this program, or damaged")
    stated = value.pop(_CHECKSUM_KEY, None)
    actual = json_digest(value)
    if (stated or actual) != actual or set(keys or value) != value.keys() - set(optional):
        raise LedgerError(f"{place}: the checksum does not match; the record is damaged")
    return value


def json_digest(value: object, *, allow_nan: bool = True) -> str:
    """Return the sha256 of a JSON value with sorted keys and no spaces, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return sha256_of(text)


T = TypeVar("T")


def write_verified(
    storage: Storage, name: str, data: bytes, read: Callable[[bytes, str], T]
) -> str:
    """Write a file unless it has this content already; quarantine a damaged one first.

    Parameters
    ----------
    storage : Storage
    name : str
    data : bytes
    read : function
        Bytes and place -> value; raises one of `UNREADABLE` for damaged bytes.

    Returns
    -------
    str
        Message about a damaged file, or '' if it was intact.
    """
    message = ""
    with suppress(FileNotFoundError):
        present = storage.read(name)
        if present == data:
            return message
        try:
            read(present, storage.path(name))
        except UNREADABLE as error:
            quarantined = storage.quarantine(name)
            message = f"damaged file of the study set aside as {quarantined}, rewritten ({error})"
    storage.write(name, data)
    return message


def read_verified(storage: Storage, name: str, read: Callable[[bytes, str], T]) -> T:
    """Read and verify a file.

    Raises
    ------
    InputError
        The file is missing or damaged; the message names it.
    """
    place = storage.path(name)
    remedy = "launch the study again to rewrite it; nothing else is lost"
    try:
        data = storage.read(name)
    except FileNotFoundError as error:
        raise InputError(f"{place} is missing; {remedy}") from error
    try:
        return read(data, place)
    except UNREADABLE as error:
        raise InputError(f"{place} is damaged ({error}); {remedy}") from error
