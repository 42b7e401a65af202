"""Checksums of stored files: add one when writing, verify it when reading."""

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
_SUM = "sha256"
_LINE = len(_MAGIC) + 64
"""Length of the checksum line: the magic and the hex digits of a sha256."""


class LedgerError(StudyError):
    """A record that is not what was written; the message names the file."""


UNREADABLE = (
    *(LedgerError, ArithmeticError, AttributeError, EOFError, LookupError, OSError, TypeError),
    *(ValueError, BadZipFile, LZMAError, struct.error, zlib.error),
    MemoryError,  # the header of an array may ask for any size
    RuntimeError,  # JSON nested too deeply, an archive of an unknown form
    *(SyntaxError, TokenError),  # the header of an array
)
"""What reading damaged bytes may raise: those of archives, arrays and JSON, whatever they hold."""


def add_checksum(payload: bytes) -> bytes:
    """Put a checksum line before a payload."""
    return _MAGIC + sha256_of(payload).encode() + b"\n" + payload


def verify_checksum(data: bytes, place: str) -> bytes:
    """Return the payload of `add_checksum`; LedgerError naming `place` if a byte differs."""
    line, end, payload = data[:_LINE], data[_LINE : _LINE + 1], data[_LINE + 1 :]
    if not line.startswith(_MAGIC) or end != b"\n":
        raise LedgerError(f"{place}: not a record of this program, or damaged")
    if sha256_of(payload).encode() != line.removeprefix(_MAGIC):
        raise LedgerError(f"{place}: the checksum does not fit; the record is damaged")
    return payload


def add_json_checksum(value: Mapping[str, Any]) -> bytes:
    """Write a mapping as JSON that people can read, with a checksum of its values."""
    return json.dumps({_SUM: json_digest(value), **value}, indent=2).encode()


def verify_json_checksum(
    data: bytes, place: str, keys: Collection[str] | None = None, optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return the mapping of `add_json_checksum`, or one written before there was a checksum.

    Parameters
    ----------
    keys : collection of str, optional
        What the mapping must have, no more and no less.
    optional : collection of str
        What it may have besides.

    Raises
    ------
    LedgerError
        It is no JSON mapping, or a value differs from what was written.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{place}: no JSON; the record is damaged") from error
    if not isinstance(value, dict):
        raise LedgerError(f"{place}: not a record of this program, or damaged")
    stated = value.pop(_SUM, None)
    found = json_digest(value)
    if (stated or found) != found or set(keys or value) != value.keys() - set(optional):
        raise LedgerError(f"{place}: the checksum does not fit; the record is damaged")
    return value


def json_digest(value: object, *, allow_nan: bool = True) -> str:
    """Return the sha256 of a JSON value with sorted keys and no spaces, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return sha256_of(text)


T = TypeVar("T")


def write_verified(
    storage: Storage, name: str, data: bytes, read: Callable[[bytes, str], T]
) -> str:
    """Write a file unless it holds the same already; set a damaged one aside first.

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
        What to say of a damaged file; empty if there was none.
    """
    said = ""
    with suppress(FileNotFoundError):
        there = storage.read(name)
        if there == data:
            return said
        try:
            read(there, storage.path(name))
        except UNREADABLE as error:
            aside = storage.quarantine(name)
            said = f"damaged file of the study set aside and written anew: {aside} ({error})"
    storage.write(name, data)
    return said


def read_verified(storage: Storage, name: str, read: Callable[[bytes, str], T]) -> T:
    """Read a file.

    Raises
    ------
    InputError
        It is absent or damaged; the message names it.
    """
    place = storage.path(name)
    anew = "launch the study again: it is written anew, and nothing else is lost"
    try:
        data = storage.read(name)
    except FileNotFoundError as error:
        raise InputError(f"{place} is not there; {anew}") from error
    try:
        return read(data, place)
    except UNREADABLE as error:
        raise InputError(f"{place} is damaged ({error}); {anew}") from error
