"""Reading tables and finding files of an archive folder, with errors that say what to do."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from study.errors import InputError

Row = Mapping[str, str]
LARGEST = 1e9
"""Of a rating and of a threshold: no scale goes so far, and tables are kept as float32."""


def archive_files(archive: Path | None, names: Iterable[str]) -> dict[str, Path]:
    """Paths of these files inside an archive folder, by name.

    Raises
    ------
    InputError
        No folder was given, or a file is not there.
    """
    names = tuple(names)
    help_ = "set data.archive or OLFACTION_ARCHIVE to a folder made by `study data fetch`"
    if archive is None:
        raise InputError(f"no archive folder given, but {names[0]} is needed: {help_}")
    paths = {name: archive / name for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise InputError(f"archive folder {archive} lacks {', '.join(missing)}: {help_}")
    return paths


def user_path(text: str, what: str) -> Path:
    """Return a path that a person wrote, ``~`` expanded.

    Raises
    ------
    InputError
        It can be no path: ``~`` of somebody unknown, a name that is too long.
    """
    try:
        path = Path(text).expanduser()
        path.is_file()  # says what the system thinks of the name
    except (OSError, RuntimeError) as error:
        raise InputError(f"{what} cannot be '{text}': {error}") from error
    return path


def read_rows(path: Path, columns: Iterable[str] = ()) -> list[Row]:
    """Rows of a comma-separated file as text by column, every row complete.

    Row i of the answer is row i + 2 of the file: the header is row 1.

    Raises
    ------
    InputError
        The file is not UTF-8 text, a column is missing or doubled, there is no row, or a row
        has another number of cells than the header.
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
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column '{doubled[0]}' more than once")


def read_structures(path: Path, column: str = "IsomericSMILES") -> dict[str, str]:
    """SMILES by CID of a molecules file; molecules without a structure are left out."""
    rows = read_rows(path, ("CID", column))
    return {row["CID"]: row[column] for row in rows if row[column] not in ("", "NA")}


def parse_number(text: str, place: str) -> float:
    """Read the number in a cell.

    Raises
    ------
    InputError
        It is none, or not finite; the message names the place.
    """
    try:
        found = float(text)
    except ValueError as error:
        raise InputError(f"{place}: '{text}' is not a number") from error
    if not abs(found) <= LARGEST:
        raise InputError(f"{place}: '{text}' is no number up to {LARGEST:g}")
    return found


def parse_cid(text: str) -> str:
    """CID as written in the molecules files: ``7410.0`` -> ``7410``, blank stays blank."""
    return text.removesuffix(".0")
