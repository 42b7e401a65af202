"""Reading of tables and of files in an archive folder, with errors that name the remedy."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from study.errors import InputError

Row = Mapping[str, str]
LARGEST = 1e9
"""Largest absolute value of a rating or threshold; data sets store them as float32."""


def archive_files(archive: Path | None, names: Iterable[str]) -> dict[str, Path]:
    """Return the paths of files in an archive folder, by name.

    Raises
    ------
    InputError
        No folder is set, or a file is missing.
    """
    names = tuple(names)
    remedy = "set data.archive or OLFACTION_ARCHIVE to a folder made by `study data fetch`"
    if archive is None:
        raise InputError(f"no archive folder given, but {names[0]} is needed: {remedy}")
    paths = {name: archive / name for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise InputError(f"archive folder {archive} lacks {', '.join(missing)}: {remedy}")
    return paths


def parse_user_path(text: str, what: str) -> Path:
    """Return a path written by a user, with ``~`` expanded.

    Raises
    ------
    InputError
        The text cannot be a path: ``~`` of an unknown user, a name that is too long.
    """
    try:
        path = Path(text).expanduser()
        path.is_file()  # raises OSError if the system rejects the name
    except (OSError, RuntimeError) as error:
        raise InputError(f"{what} cannot be '{text}': {error}") from error
    return path


def read_rows(path: Path, columns: Iterable[str] = ()) -> list[Row]:
    """Read the rows of a comma-separated file, each a mapping of column to text.

    Row i of the result is row i + 2 of the file: the header is row 1.

    Raises
    ------
    InputError
        The file is not UTF-8 text, a column is missing or duplicated, there are no rows, or a
        row has another number of cells than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *lines = csv.reader(stream, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a comma-separated UTF-8 table: {error}") from error
    except ValueError as error:
        raise InputError(f"{path} is empty: a header row is needed") from error
    _check_header(path, header, tuple(columns))
    if not lines:
        raise InputError(f"{path} has a header but no rows")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InputError(f"{path} row {number} has {len(line)} cells, the header {len(header)}")
    return [dict(zip(header, line, strict=True)) for line in lines]


def _check_header(path: Path, header: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path} has no column '{missing[0]}'; its columns: {', '.join(header)}")
    duplicates = sorted({name for name in header if header.count(name) > 1})
    if duplicates:
        raise InputError(f"{path} has the column '{duplicates[0]}' more than once")


def read_structures(path: Path, column: str = "IsomericSMILES") -> dict[str, str]:
    """Read the SMILES of a molecules file by CID; skip molecules without a structure."""
    rows = read_rows(path, ("CID", column))
    return {row["CID"]: row[column] for row in rows if row[column] not in ("", "NA")}


def parse_number(text: str, place: str) -> float:
    """Read the number in a cell.

    Raises
    ------
    InputError
        The text is not a finite number; the message names the place.
    """
    try:
        number = float(text)
    except ValueError as error:
        raise InputError(f"{place}: '{text}' is not a number") from error
    if not abs(number) <= LARGEST:  # also true for NaN
        raise InputError(f"{place}: '{text}' is not a finite number up to {LARGEST:g}")
    return number


def parse_cid(text: str) -> str:
    """Return a CID as in the molecules files: ``7410.0`` -> ``7410``, blank stays blank."""
    return text.removesuffix(".0")
