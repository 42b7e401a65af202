"""The user's own table: a SMILES column, and labels as 0/1 columns or as one list column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, digest_files
from study.data.tables import Row, parse_user_path, read_rows
from study.errors import InputError


class Csv:
    """A comma-separated file with a header. Every defect of it is an error.

    Parameters
    ----------
    file : str
        Path of the table, relative to the working directory or absolute.
    smiles : str
        Column with the SMILES.
    labels : str, optional
        Column that lists the labels of a row. Without it every other column is a label, 1 if the
        molecule has it and 0 if not.
    separator : str
        Separator of the labels in a list, and of the names in `ignore`.
    ignore : str
        Columns that are not labels (names, numbers, notes), with the separator between them.
    """

    rated: ClassVar[bool] = False

    def __init__(
        self,
        *,
        file: str = "",
        smiles: str = "smiles",
        labels: str | None = None,
        separator: str = ";",
        ignore: str = "",
    ) -> None:
        if not file:
            raise InputError("source csv needs the option 'file': the path of the table")
        if not separator:
            raise InputError("source csv: the option 'separator' must not be empty")
        self._path = parse_user_path(file, "source csv: the option 'file'")
        self._smiles, self._list_column, self._separator = smiles, labels, separator
        self._ignored = _split(ignore, separator)

    def files(self, archive: Path | None) -> dict[str, Path]:  # noqa: ARG002 (the contract)
        """Return the one table."""
        if not self._path.is_file():
            raise InputError(f"source csv: there is no file {self._path}")
        return {str(self._path): self._path}

    def read(self, archive: Path | None) -> RawTable:
        """Read the table; a cell that is neither 0 nor 1 is an error with its place."""
        files = self.files(archive)
        needed = (self._smiles, *self._ignored, *([self._list_column] if self._list_column else []))
        rows = read_rows(self._path, needed)
        others = {self._smiles, *self._ignored}
        columns = [name for name in rows[0] if name not in others]
        entries = tuple(
            RawEntry(place, row[self._smiles], self._read_labels(row, columns, place))
            for place, row in self._number_rows(rows)
        )
        step = CurationStep(f"csv: rows of {self._path.name}", len(rows), len(entries))
        listed = sorted({label for entry in entries for label in entry.labels})
        vocabulary = tuple(listed if self._list_column else columns)
        return RawTable("csv", entries, vocabulary, digest_files(files), (step,), strict=True)

    def _number_rows(self, rows: list[Row]) -> list[tuple[str, Row]]:
        return [(f"{self._path.name} row {i}", row) for i, row in enumerate(rows, start=2)]

    def _read_labels(self, row: Row, columns: Sequence[str], place: str) -> tuple[str, ...]:
        if self._list_column:
            return _split(row[self._list_column], self._separator)
        wrong = [name for name in columns if row[name] not in ("0", "1")]
        if wrong:
            raise InputError(
                f"{place}: column '{wrong[0]}' holds '{row[wrong[0]]}', but a label column holds "
                "only 0 or 1; name columns that are not labels in the option 'ignore', or the "
                "column that lists labels in the option 'labels'"
            )
        return tuple(name for name in columns if row[name] == "1")


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())
