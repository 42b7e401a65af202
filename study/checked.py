"""The files of a study's own folder: written when they change, checked when they are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from study.errors import InputError
from study.seals import UNREADABLE
from study.storage import Storage

T = TypeVar("T")


def put_checked(storage: Storage, name: str, data: bytes, read: Callable[[bytes, str], T]) -> str:
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


def get_checked(storage: Storage, name: str, read: Callable[[bytes, str], T]) -> T:
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
